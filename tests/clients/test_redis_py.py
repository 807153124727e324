"""redis-py on routed keys: pipelines, transactions, locks, scripts, queues, streams."""

import threading
import time
import unittest

import redis
from redis.exceptions import LockNotOwnedError, ResponseError

from server import Server


def at_once(count, work):
    """Runs `work(number)` in so many threads; what they returned."""
    results, errors = [None] * count, []

    def run(number):
        try:
            results[number] = work(number)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class RedisPy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("cart:* lock:* queue:* stream:*")

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def setUp(self):
        self.redis = self.server.client(decode_responses=True)
        self.redis.flushall()
        self.redis.execute_command("PERSIST.FLUSHALL")

    def tearDown(self):
        self.redis.close()

    def test_pipelines_and_types(self):
        for transaction in (True, False):
            with self.redis.pipeline(transaction=transaction) as pipe:
                pipe.set("cart:1", "x", ex=1000).set("page:1", "y")
                pipe.hset("cart:h", mapping={"a": 1, "b": 2}).hgetall("cart:h")
                pipe.rpush("cart:l", 1, 2, 3).lrange("cart:l", 0, -1)
                pipe.zadd("cart:z", {"m": 1.5}).zrange("cart:z", 0, -1, withscores=True)
                pipe.sadd("cart:s", "m").smembers("cart:s").delete("cart:l", "cart:s")
                pipe.ttl("cart:1").get("page:1").type("cart:z")
                reply = pipe.execute()
            self.assertEqual(reply[3], {"a": "1", "b": "2"})
            self.assertEqual(reply[5], ["1", "2", "3"])
            self.assertEqual([tuple(pair) for pair in reply[7]], [("m", 1.5)])
            self.assertEqual(reply[9], {"m"})
            self.assertEqual(reply[10:], [2, 1000, "y", "zset"])
        with self.redis.pipeline() as pipe:
            pipe.set("cart:1", "z").lpush("cart:1", "x").delete("cart:1", "page:1")
            reply = pipe.execute(raise_on_error=False)
        self.assertIs(reply[0], True)
        self.assertIn("WRONGTYPE", str(reply[1]))
        self.assertIn("both sides of persist.route", str(reply[2]))
        # The cache goes, the cart doesn't.
        self.redis.flushall()
        self.assertEqual(self.redis.get("cart:1"), "z")
        self.assertIsNone(self.redis.get("page:1"))

    def test_optimistic_transactions(self):
        self.redis.set("cart:n", 0)

        def add(_):
            with self.server.client() as client:
                for _ in range(25):
                    def step(pipe):
                        n = int(pipe.get("cart:n"))
                        pipe.multi()
                        pipe.set("cart:n", n + 1)
                    client.transaction(step, "cart:n")

        at_once(4, add)
        self.assertEqual(self.redis.get("cart:n"), "100")

    def test_locks(self):
        held = []

        def work(number):
            with self.server.client() as client:
                for _ in range(10):
                    with client.lock("lock:a", timeout=20, sleep=0.001):
                        held.append(number)
                        assert held == [number], held
                        time.sleep(0.001)
                        held.remove(number)

        at_once(4, work)
        lock = self.redis.lock("lock:b", timeout=30)
        self.assertTrue(lock.acquire())
        other = self.redis.lock("lock:b", timeout=30, blocking=False)
        self.assertFalse(other.acquire())
        # It is held over a crash of the server, and still ours.
        self.server.restart()
        self.assertFalse(other.acquire())
        self.assertTrue(lock.owned())
        lock.extend(30)
        self.assertGreater(self.redis.pttl("lock:b"), 30_000)
        lock.reacquire()
        self.assertLessEqual(self.redis.pttl("lock:b"), 30_000)
        lock.release()
        self.assertTrue(other.acquire())
        short = self.redis.lock("lock:c", timeout=0.05)
        self.assertTrue(short.acquire())
        time.sleep(0.1)
        with self.assertRaises(LockNotOwnedError):
            short.release()

    def test_scripts(self):
        script = self.redis.register_script(
            "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('SET', 'page:n', n) return n"
        )
        self.assertEqual(script(["cart:n"], [5]), 5)
        # The server forgets scripts, and the client sends them again.
        self.server.restart()
        self.assertEqual(script(["cart:n"], [5]), 10)
        with self.assertRaises(ResponseError):
            self.redis.eval("return redis.call('MGET', 'cart:n', 'page:n')", 0)

    def test_waiting_for_work(self):
        def worker(_):
            got = []
            with self.server.client(decode_responses=True) as client:
                while True:
                    _, item = client.blpop(["queue:stop", "queue:work"], timeout=10)
                    if item == "stop":
                        return got
                    got.append(item)

        def boss():
            for n in range(200):
                self.redis.rpush("queue:work", n)
            while self.redis.llen("queue:work"):
                time.sleep(0.01)
            self.redis.rpush("queue:stop", *["stop"] * 4)

        thread = threading.Thread(target=boss)
        thread.start()
        got = at_once(4, worker)
        thread.join()
        self.assertEqual(sorted(int(n) for part in got for n in part), list(range(200)))
        self.assertIsNone(self.redis.blpop("queue:none", timeout=0.1))
        self.assertIsNone(self.redis.blmove("queue:none", "queue:other", timeout=0.1))

    def test_consumer_groups(self):
        self.redis.xgroup_create("stream:s", "g", mkstream=True)
        ids = []
        timer = threading.Timer(0.1, lambda: ids.append(self.redis.xadd("stream:s", {"f": "v"})))
        timer.start()
        with self.server.client(decode_responses=True, protocol=2) as reader:
            [[_, [[first, fields]]]] = reader.xreadgroup("g", "ann", {"stream:s": ">"}, block=5000)
        timer.join()
        self.assertEqual((first, fields), (ids[0], {"f": "v"}))
        # What is pending stays so over a crash.
        self.server.restart()
        self.assertEqual(self.redis.xpending("stream:s", "g")["pending"], 1)
        self.assertEqual(self.redis.xack("stream:s", "g", first), 1)

    def test_what_was_acknowledged_is_there_after_kill(self):
        def count(number):
            acknowledged = 0
            try:
                with self.server.client() as client:
                    while True:
                        with client.pipeline() as pipe:
                            pipe.incr(f"cart:c{number}").rpush(f"cart:l{number}", acknowledged)
                            pipe.execute()
                        acknowledged += 1
            except (redis.ConnectionError, redis.TimeoutError):
                return acknowledged

        threading.Timer(0.5, self.server.kill).start()
        counts = at_once(4, count)
        self.server.start()
        for number, acknowledged in enumerate(counts):
            kept = int(self.redis.get(f"cart:c{number}"))
            self.assertGreater(acknowledged, 10)
            # One may have been written without its reply getting through.
            self.assertIn(kept - acknowledged, (0, 1))
            self.assertEqual(self.redis.llen(f"cart:l{number}"), kept, "half a transaction")


if __name__ == "__main__":
    unittest.main()
