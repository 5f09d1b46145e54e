"""A parameter tree as a flat dict of path -> leaf, and back."""

from collections.abc import Mapping
from typing import Any

import jax


def named_leaves(tree) -> dict[str, Any]:
  """{'a/b/c': leaf} in the order of `jax.tree.leaves`.

  Raises:
    ValueError: a key holds a slash.
  """
  leaves = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if name.count('/') != len(path) - 1:
      raise ValueError(f'{name}: the keys of a tree of parameters have no '
                       'slash.')
    leaves[name] = leaf
  return leaves


def nested(leaves: Mapping[str, Any]) -> dict:
  """The nested dict of {'a/b/c': leaf}."""
  tree = {}
  for name, leaf in leaves.items():
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree
