"""Packaging: everything is read from settings.ini, by the standard library: an isolated build needs only setuptools."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
readme = here / "README.md"
hearing, onnx, music = (cfg[f"{name}_requirements"].split() for name in ("hearing", "onnx", "music"))
align, cluster, own = (cfg[f"{name}_requirements"].split() for name in ("align", "cluster", "dev"))
board, codec = (cfg[f"{name}_requirements"].split() for name in ("tensorboard", "codec"))
compiled = ("pesq", "pycodec2", "Resemblyzer")  # they need a C compiler, themselves or in what they need
dev = [*own, *cluster, *onnx, *music, *codec, *(r for r in hearing if not r.startswith(compiled))]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="Apache-2.0",
    keywords=cfg["keywords"],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["spectro_dreamer*"]),
    package_data={"spectro_dreamer": [  # the bundled corpora, the trained models and the page travel in the wheel
        "corpus/*", "corpus/**/*", "tunes/*", "weights/*", "weights/**/*", "web/*", "py.typed"]},
    install_requires=cfg["requirements"].split(),
    extras_require=dict(cluster=cluster, hearing=hearing, align=align, onnx=onnx, music=music, tensorboard=board,
                        codec=codec, dev=dev),
    entry_points={"console_scripts": cfg["console_scripts"].split()},
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Developers",
                 "Intended Audience :: Science/Research", "Programming Language :: Python :: 3",
                 *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
                 "Topic :: Multimedia :: Sound/Audio :: Speech"],
    zip_safe=False,
)
