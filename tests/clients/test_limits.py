"""The rate limiter limits, its counters durable, through kill -9 of its server."""

import unittest

from limits import RateLimitItemPerHour
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from server import Server


class Limits(unittest.TestCase):
    def setUp(self):
        self.server = Server("LIMITS:*")

    def tearDown(self):
        self.server.close()

    def test_limits_hold_over_a_crash(self):
        limit = RateLimitItemPerHour(10)
        for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
            with self.subTest(strategy=strategy.__name__):
                def limiter():
                    return strategy(RedisStorage(f"redis://127.0.0.1:{self.server.port}"))
                user = f"{strategy.__name__}:ann"
                now = limiter()
                self.assertEqual([now.hit(limit, user) for _ in range(7)], [True] * 7)
                self.server.restart()
                now = limiter()
                self.assertEqual(now.get_window_stats(limit, user).remaining, 3)
                self.assertEqual([now.hit(limit, user) for _ in range(4)], [True] * 3 + [False])
                now.clear(limit, user)
                self.assertTrue(now.hit(limit, user))
        with self.server.client() as client:
            self.assertEqual(client.dbsize(), 0)
            self.assertGreater(client.execute_command("PERSIST.DBSIZE"), 0)


if __name__ == "__main__":
    unittest.main()
