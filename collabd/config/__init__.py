"""Configuration: TOML file, environment and command line into frozen structs, with every error named at once.

Law of this package: a leaf. It imports collabd.errors and nothing else of the project.
"""

from collabd.config.checks import is_loopback
from collabd.config.reading import check_rules, load_config
from collabd.config.settings import Setting, settings
from collabd.config.tables import (
    UNIX_PREFIX,
    Admin,
    Auth,
    Client,
    Config,
    Events,
    Limits,
    Logging,
    Presence,
    Runs,
    Server,
    Storage,
    WebSocket,
    default_data_dir,
    parse_address,
)

__all__ = [
    "UNIX_PREFIX",
    "Admin",
    "Auth",
    "Client",
    "Config",
    "Events",
    "Limits",
    "Logging",
    "Presence",
    "Runs",
    "Server",
    "Setting",
    "Storage",
    "WebSocket",
    "check_rules",
    "default_data_dir",
    "is_loopback",
    "load_config",
    "parse_address",
    "settings",
]
