"""An rq worker that goes on when its server comes back: worker.py PORT."""

import sys
import time

import redis
from rq import Queue, SimpleWorker

connection = redis.Redis(port=int(sys.argv[1]), socket_timeout=None)
while True:
    try:
        worker = SimpleWorker([Queue("work", connection=connection)], connection=connection)
        worker.work(logging_level="ERROR")
        sys.exit(0)
    except redis.RedisError:
        time.sleep(0.1)
