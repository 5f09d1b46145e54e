"""One table of the leaves of a model's parameter tree.

A row says what a leaf's axes are, what it does, and what other programs call
it. Shardings, which leaves are multiplied in a narrow dtype, adapters, growth
of the residual stream and the reading and writing of files follow from it.
Letters of axes stand in `sleepjax.models.config`. The extra MLP levels of a
block have leaves of the same names below 'layers/level_i'.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Leaf:
  """A parameter, by our name and by those of other programs.

  path: ours, for example 'layers/attn/q'.
  axes: letters of our axes, without the stacked layer axis.
  kind: 'reads' and 'writes' are matrices with the residual stream as input and
    as output; 'bias', 'norm' (gains, one at birth), 'table', 'unembedding', or
    of slots 'open' and 'router'.
  stored: letters of the axes in files; 'HK D' is a matrix whose first axis is
    H·K. Outputs come first there, tensors are of one layer. '' for a leaf that
    other programs do not have.
  hf: name in Hugging Face files; `{}` stands for the layer.
  gguf: name in GGUF files.
  only: the part of the architecture it belongs to, or '' for all.
  rotated: rotary embedding acts on its K axis.
  """

  path: str
  axes: str
  kind: str
  stored: str = ''
  hf: str = ''
  gguf: str = ''
  only: str = ''
  rotated: bool = False

  @property
  def name(self) -> str:
    return self.path.split('/')[-1]

  @property
  def stacked(self) -> bool:
    """Whether there is one in every layer."""
    return self.path.startswith('layers/')

  @property
  def is_matrix(self) -> bool:
    """Whether it is a matrix of attention, of an MLP, or of slots."""
    return self.kind in ('reads', 'writes')

  @property
  def inputs(self) -> str:
    """Letters of a matrix's input axes; `outputs` has the others."""
    return self.axes[:1] if self.kind == 'reads' else self.axes[:-1]

  @property
  def outputs(self) -> str:
    return self.axes[len(self.inputs):]

  def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Our shape, with the layer axis if there is one."""
    return sized('L' * self.stacked + self.axes, sizes)

  def stored_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Shape of one stored tensor."""
    return tuple(
        math.prod(sized(group, sizes)) for group in self.stored.split())

  def from_stored(self, array: np.ndarray, sizes: Mapping[str, int]):
    """A view of a stored tensor with our axes (one layer)."""
    letters = self.stored.replace(' ', '')
    array = array.reshape(sized(letters, sizes))
    return array.transpose([letters.index(a) for a in self.axes])

  def to_stored(self, array: np.ndarray, sizes: Mapping[str, int]):
    """The inverse of `from_stored`, contiguous in memory."""
    letters = self.stored.replace(' ', '')
    array = array.transpose([self.axes.index(a) for a in letters])
    return np.ascontiguousarray(array.reshape(self.stored_shape(sizes)))


def sized(axes: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
  """The sizes of axes by their letters."""
  return tuple(sizes[letter] for letter in axes)


HF_LAYER, GGUF_LAYER = 'model.layers.{}.', 'blk.{}.'


def _of_layer(path, axes, kind, stored, hf, gguf, only='', rotated=False):
  return Leaf(f'layers/{path}', axes, kind, stored, HF_LAYER + hf,
              GGUF_LAYER + gguf, only, rotated)


LEAVES = (
    Leaf('embed/table', 'VD', 'table', 'V D',
         'model.embed_tokens.weight', 'token_embd.weight'),
    _of_layer('attn_norm/scale', 'D', 'norm', 'D',
              'input_layernorm.weight', 'attn_norm.weight'),
    _of_layer('attn/q', 'DHK', 'reads', 'HK D',
              'self_attn.q_proj.weight', 'attn_q.weight', rotated=True),
    _of_layer('attn/k', 'DGK', 'reads', 'GK D',
              'self_attn.k_proj.weight', 'attn_k.weight', rotated=True),
    _of_layer('attn/v', 'DGC', 'reads', 'GC D',
              'self_attn.v_proj.weight', 'attn_v.weight'),
    _of_layer('attn/o', 'HCD', 'writes', 'D HC',
              'self_attn.o_proj.weight', 'attn_output.weight'),
    _of_layer('attn/q_bias', 'HK', 'bias', 'HK',
              'self_attn.q_proj.bias', 'attn_q.bias', 'qkv_bias'),
    _of_layer('attn/k_bias', 'GK', 'bias', 'GK',
              'self_attn.k_proj.bias', 'attn_k.bias', 'qkv_bias'),
    _of_layer('attn/v_bias', 'GC', 'bias', 'GC',
              'self_attn.v_proj.bias', 'attn_v.bias', 'qkv_bias'),
    _of_layer('attn/q_norm', 'K', 'norm', 'K',
              'self_attn.q_norm.weight', 'attn_q_norm.weight', 'qk_norm'),
    _of_layer('attn/k_norm', 'K', 'norm', 'K',
              'self_attn.k_norm.weight', 'attn_k_norm.weight', 'qk_norm'),
    _of_layer('attn_post_norm/scale', 'D', 'norm', 'D',
              'post_attention_layernorm.weight', 'post_attention_norm.weight',
              'post_norms'),
    _of_layer('mlp_norm/scale', 'D', 'norm', 'D',
              'post_attention_layernorm.weight', 'ffn_norm.weight',
              'no post_norms'),
    _of_layer('mlp_norm/scale', 'D', 'norm', 'D',
              'pre_feedforward_layernorm.weight', 'ffn_norm.weight',
              'post_norms'),
    _of_layer('mlp_post_norm/scale', 'D', 'norm', 'D',
              'post_feedforward_layernorm.weight', 'post_ffw_norm.weight',
              'post_norms'),
    _of_layer('mlp/gate', 'DF', 'reads', 'F D',
              'mlp.gate_proj.weight', 'ffn_gate.weight'),
    _of_layer('mlp/up', 'DF', 'reads', 'F D',
              'mlp.up_proj.weight', 'ffn_up.weight'),
    _of_layer('mlp/down', 'FD', 'writes', 'D F',
              'mlp.down_proj.weight', 'ffn_down.weight'),
    Leaf('final_norm/scale', 'D', 'norm', 'D',
         'model.norm.weight', 'output_norm.weight'),
    Leaf('head/kernel', 'DV', 'unembedding', 'V D',
         'lm_head.weight', 'output.weight', 'untied'),
    # What other programs do not have: slots, and the norm of an extra level.
    Leaf('layers/slots/gate', 'NDR', 'reads'),
    Leaf('layers/slots/up', 'NDR', 'reads'),
    Leaf('layers/slots/down', 'NRD', 'writes'),
    Leaf('layers/slots/open', 'N', 'open'),
    Leaf('layers/slots/router', 'ND', 'router'),
    Leaf('layers/norm/scale', 'D', 'norm'),
)

# The layout of CPUs: outputs first, several matrices in one. J is a sum of
# unequal widths (H·K + G·K + G·C, or 2 F), A is H·C.
CPU_LEAVES = (
    Leaf('layers/attn/qkv', 'JD', 'reads'),
    Leaf('layers/attn/out', 'DA', 'writes'),
    Leaf('layers/mlp/gate_up', 'JD', 'reads'),
    Leaf('layers/mlp/out', 'DF', 'writes'),
    Leaf('head/rows', 'VD', 'unembedding'),
)

STORED = tuple(leaf for leaf in LEAVES if leaf.stored)
MATRICES = {leaf.name: leaf for leaf in STORED if leaf.is_matrix}
_BY_PATH = {leaf.path: leaf for leaf in LEAVES}


def leaf_of(path: str) -> Leaf:
  """The row of a leaf of the canonical tree, also of an extra MLP level.

  >>> leaf_of('layers/level_0/mlp/gate').axes
  'DF'
  """
  return _BY_PATH[re.sub(r'^layers/level_\d+/', 'layers/', path)]
