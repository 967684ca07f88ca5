"""Solves transport problems with SciPy, POT or OTT-JAX, one JSON line each."""
import json
import sys
import time

import numpy as np


def memory(line):
    with open("/proc/self/status") as f:
        for text in f:
            if text.startswith(line):
                return int(text.split()[1]) * 1024
    return 0


def forget_peak():
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def scipy(cost, a, b, task):
    from scipy.optimize import linear_sum_assignment

    def run():
        rows, cols = linear_sum_assignment(cost)
        plan = np.zeros_like(cost)
        plan[rows, cols] = 1 / len(rows)
        return plan

    return run


def pot(cost, a, b, task):
    import ot

    if task["reg"] == 0:
        return lambda: ot.emd(a, b, cost, numItermax=10**9)
    method = "sinkhorn_log" if task["peer"] == "pot-log" else "sinkhorn"
    return lambda: ot.sinkhorn(a, b, cost, task["reg"], method=method, stopThr=task["tol"], numItermax=10**6)


compiled = {}


def ott(cost, a, b, task):
    import jax

    jax.config.update("jax_enable_x64", True)
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    def solve(c, p, q):
        g = geometry.Geometry(cost_matrix=c, epsilon=task["reg"])
        solver = sinkhorn.Sinkhorn(threshold=task["tol"], max_iterations=10**6)
        return solver(linear_problem.LinearProblem(g, a=p, b=q)).matrix

    key = (cost.shape, task["reg"])
    if key not in compiled:
        compiled[key] = jax.jit(solve)
        np.asarray(compiled[key](cost, a, b))
    return lambda: np.asarray(compiled[key](cost, a, b))


PEERS = {"scipy": scipy, "pot": pot, "pot-log": pot, "ott": ott}


def answer(task):
    n, m = task["n"], task["m"]
    data = np.fromfile(task["path"], dtype="<f8")
    cost, a, b = data[: n * m].reshape(n, m), data[n * m : n * m + n], data[n * m + n :]
    run = PEERS[task["peer"]](cost, a, b, task)
    forget_peak()
    before, worked, started = memory("VmRSS:"), time.process_time(), time.perf_counter()
    plan = run()
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = memory("VmHWM:") - before
    off = max(np.abs(plan.sum(1) - a).sum(), np.abs(plan.sum(0) - b).sum())
    return {
        "seconds": seconds,
        "processor_seconds": worked,
        "objective": float((plan * cost).sum()),
        "marginal_error": float(off),
        "peak_bytes": peak,
    }


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as e:
        reply = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(reply), flush=True)
