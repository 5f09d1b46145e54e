"""Data sets of tensorflow-datasets, prepared once, without TensorFlow.

Rows are read at random by their index, which is what grain's loaders ask for.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sleepjax.mesh import distributed


def rows(name: str, split: str, data_dir: str | os.PathLike | None = None,
         before_download: Callable[[], None] = lambda: None,
         manual_dir: str | os.PathLike | None = None
         ) -> Sequence[Mapping[str, Any]]:
  """The rows of a split; of several processes the first prepares the files.

  Args:
    name: of a registered builder, with a configuration or version if wanted;
      those of `sleepjax.data.builders` are registered by importing it.
    split: one of its splits, or a slice such as `train[:100]`.
    data_dir: where tensorflow-datasets keeps its data; its default if None.
    before_download: called before the files are prepared, if they are not yet.
    manual_dir: a folder with the original files, for builders that read one.

  Returns:
    Dictionaries by index. Texts are bytes, or str (`text`).
  """
  # Half a second to import, and few commands need it.
  import tensorflow_datasets as tfds

  # The default format, tfrecord, can only be written with TensorFlow; parquet
  # loses rows.
  builder = tfds.builder(name, data_dir=data_dir, file_format='array_record')
  if not builder.is_prepared() and distributed.is_first():
    before_download()
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir, try_download_gcs=False))
  distributed.barrier(f'{name} is prepared', timeout=3600)
  return builder.as_data_source(split=split)


def text(value: Any) -> str:
  """Text features come back as bytes from array_record files."""
  return value.decode('utf-8') if isinstance(value, bytes) else str(value)
