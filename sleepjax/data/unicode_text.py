"""Half characters, which text from outside may hold."""


def whole_characters(text: str) -> str:
  """Puts U+FFFD for every half character.

  A str may hold one half of a surrogate pair: JSON can write it, and Python
  makes it of bytes in command-line arguments that are not UTF-8. No encoding
  has it. Two halves that stand together become the character that they are.
  """
  try:
    text.encode()
  except UnicodeEncodeError:
    return text.encode('utf-16-le', 'surrogatepass').decode(
        'utf-16-le', 'replace')
  return text
