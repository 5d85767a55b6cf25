"""The life of the process under a service manager: being told apart, telling, being handed sockets, reloading.

Law of this package: without a service manager all of it does nothing. systemd's side is described in sd_notify(3),
sd_watchdog_enabled(3), sd_listen_fds(3) and systemd.exec(5).
"""
