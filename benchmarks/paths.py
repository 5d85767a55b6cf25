"""Where the benchmarks keep things. Law: names only; everything made lies under .cache, which git ignores."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
CACHE = HERE / ".cache"
PEERS = HERE / "peers"
LOAD_SOURCES = HERE / "load"
LOAD_BINARY = CACHE / "load"
PYTHON_ENV = CACHE / "venv"
NODE_HOME = CACHE / "node"
NGINX_HOME = CACHE / "nginx"
RESULTS_JSON = HERE / "results.json"
RESULTS_TABLE = HERE / "results.md"
RECORDED_RATIO = HERE / "recorded.json"
DOCUMENT = PROJECT / "docs" / "performance.md"
README = PROJECT / "README.md"
PLOT = PROJECT / "docs" / "performance-growth.svg"
