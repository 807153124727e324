"""A redis-server with the module, as a child process that can be killed and started again."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

import redis

MODULE = os.environ["PERSIST_MODULE"]
BINARY = os.environ.get("REDIS_SERVER") or "redis-server"
# How many threads it reads and writes with, and its own fsyncs; as the server has it, if not said.
HOST_SETTINGS = {"--io-threads": os.environ.get("IO_THREADS"), "--appendfsync": os.environ.get("HOST_APPENDFSYNC")}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server whose host side is a cache: nothing of it survives."""

    def __init__(self, route, policy="always"):
        self.dir = tempfile.mkdtemp(prefix="persist-clients-")
        self.port = free_port()
        self.route = route
        self.policy = policy
        self.process = None
        self.start()

    def start(self):
        arguments = [
            BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
            "--appendonly", "no", "--logfile", os.path.join(self.dir, "server.log"),
            "--loadmodule", MODULE, "--persist.appendfsync", self.policy, "--persist.route", self.route,
        ]
        for setting, value in HOST_SETTINGS.items():
            if value:
                arguments += [setting, value]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("the server doesn't start:\n" + self.log())
                time.sleep(0.02)

    def kill(self):
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    def client(self, **options):
        """A client that gives up at the first lost connection, so that tests know what was acknowledged."""
        options.setdefault("retry", None)
        return redis.Redis(port=self.port, socket_timeout=20, **options)

    def log(self):
        with open(os.path.join(self.dir, "server.log"), encoding="utf-8") as file:
            return file.read()

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
