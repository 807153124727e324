"""The job queue rq, all of its keys durable, through kill -9 of its server."""

import collections
import os
import subprocess
import sys
import time
import unittest

import redis
from rq import Queue, Retry
from rq.registry import FinishedJobRegistry, StartedJobRegistry

import jobs
from server import Server

WORKERS = 2
JOBS = int(os.environ.get("JOBS") or 120)
KILLS = int(os.environ.get("KILLS") or 3)
HERE = os.path.dirname(os.path.abspath(__file__))


class Rq(unittest.TestCase):
    def setUp(self):
        self.server = Server("rq:*")
        self.done = os.path.join(self.server.dir, "done")
        self.workers = []

    def tearDown(self):
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.server.close()

    def hire(self):
        command = [sys.executable, os.path.join(HERE, "worker.py"), str(self.server.port)]
        self.workers.append(subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL))

    def times(self):
        """How often each job was done."""
        if not os.path.exists(self.done):
            return collections.Counter()
        with open(self.done, encoding="utf-8") as file:
            return collections.Counter(int(line) for line in file)

    def until(self, what, condition):
        end = time.monotonic() + 60
        while not condition():
            if time.monotonic() > end:
                self.fail(f"waited in vain for {what}: {len(self.times())} jobs done\n{self.server.log()}")
            time.sleep(0.05)

    def test_no_job_is_lost(self):
        client = self.server.client()
        queue = Queue("work", connection=client)
        accepted = []
        for number in range(JOBS):
            queue.enqueue(jobs.note, self.done, number, job_id=f"job{number}", result_ttl=5000)
            accepted.append(number)
        for _ in range(WORKERS):
            self.hire()
        for kill in range(KILLS):
            before = len(self.times())
            self.until("some jobs", lambda: len(self.times()) >= min(before + JOBS // (KILLS + 3), JOBS - 10))
            self.server.kill()
            self.server.start()
            # The queue is what it was, and takes more.
            queue.enqueue(jobs.note, self.done, JOBS + kill, job_id=f"job{JOBS + kill}", result_ttl=5000)
            accepted.append(JOBS + kill)
        self.until("an empty queue", lambda: queue.count == 0)
        # What a worker had in hand when the server died is as it would be with any Redis: done, perhaps
        # without its being noted, or to be done again by hand.
        self.until("the last jobs", lambda: self.idle(queue))
        for job_id in self.unfinished(queue, accepted):
            queue.enqueue(jobs.note, self.done, int(job_id[3:]), job_id=job_id, result_ttl=5000)
        self.until("all jobs", lambda: not self.unfinished(queue, accepted))
        times = self.times()
        self.assertEqual(sorted(times), sorted(accepted))
        twice = [number for number, count in times.items() if count > 1]
        self.assertLessEqual(len(twice), KILLS * WORKERS, twice)
        # The cache side of the server has nothing of it.
        self.assertEqual(client.dbsize(), 0)

    @staticmethod
    def idle(queue):
        started = StartedJobRegistry(queue=queue)
        first = started.get_job_ids(cleanup=False)
        time.sleep(0.5)
        return first == started.get_job_ids(cleanup=False) and queue.count == 0

    @staticmethod
    def unfinished(queue, accepted):
        finished = set(FinishedJobRegistry(queue=queue).get_job_ids(cleanup=False))
        return [f"job{n}" for n in accepted if f"job{n}" not in finished]

    def test_results_dependencies_and_retries(self):
        client = self.server.client()
        queue = Queue("work", connection=client)
        first = queue.enqueue(jobs.note, self.done, 1, job_id="first", result_ttl=5000)
        queue.enqueue(jobs.note, self.done, 2, job_id="second", depends_on=first, result_ttl=5000)
        broken = queue.enqueue(jobs.note, "/nowhere/at/all", 3, job_id="broken", retry=Retry(max=2))
        self.server.restart()
        self.hire()
        self.until("the jobs", lambda: len(self.times()) == 2)
        self.until("the failure", lambda: broken.get_status() == "failed")
        self.server.restart()
        self.until("the result", lambda: first.return_value() == 2)
        self.assertEqual(queue.fetch_job("second").return_value(), 4)
        self.assertEqual(client.dbsize(), 0)


if __name__ == "__main__":
    unittest.main()
