"""Solves transport problems with the packages that people use, one JSON line each."""
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


def assignment(solve):
    """Returns a peer that finds the column of every row, which takes less memory than a plan."""

    def peer(cost, a, b, task):
        run = solve()
        return lambda: run(cost)

    return peer


def scipy():
    from scipy.optimize import linear_sum_assignment

    return lambda cost: linear_sum_assignment(cost)[1]


def lapx(name):
    def solve():
        import lap

        method = getattr(lap, name)
        if name == "lapjvsa":
            return lambda cost: method(cost, return_cost=False)[:, 1]
        return lambda cost: method(cost, return_cost=False)[1]

    return solve


def lapcpp():
    import lapcpp

    return lambda cost: lapcpp.lapjv(cost, return_cost=False)[1]


def laprust():
    import laprust

    return lambda cost: laprust.lapjv(cost, return_cost=False)[1]


def lap1015():
    from py_lap_solver.solvers import Lap1015Solver

    solver = Lap1015Solver()
    return lambda cost: np.asarray(solver.solve_single(cost))


def pot_warm(cost, a, b, task):
    import ot

    return lambda: ot.emd(a, b, cost, numItermax=10**9, potentials_init=(task["u"], task["v"]))


def regot(cost, a, b, task):
    import regot

    columns = np.asfortranarray(cost)
    return lambda: regot.sinkhorn_ssns(columns, a, b, task["reg"], tol=task["tol"], max_iter=10**5).plan


def mdot(cost, a, b, task):
    """Stops by a rule of its own, which the marginal error beside it shows."""
    import mdot_tnt
    import torch

    c, r, s = (torch.from_numpy(np.ascontiguousarray(x)) for x in (cost, a, b))
    return lambda: mdot_tnt.solve_OT(r, s, c, gamma_f=1 / task["reg"], return_plan=True, round=False).numpy()


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


PEERS = {
    "scipy": assignment(scipy),
    "lapx-lapjvr": assignment(lapx("lapjvr")),
    "lapx-lapjvh": assignment(lapx("lapjvh")),
    "lapx-lapjvsa": assignment(lapx("lapjvsa")),
    "lapcpp": assignment(lapcpp),
    "laprust": assignment(laprust),
    "lap1015": assignment(lap1015),
    "pot": pot,
    "pot-warm": pot_warm,
    "pot-log": pot,
    "ott": ott,
    "regot": regot,
    "mdot": mdot,
}


def read(task):
    """Returns the cost in both precisions and the masses, and puts the potentials in the task."""
    n, m = task["n"], task["m"]
    cost, a, b, task["u"], task["v"] = np.split(
        np.fromfile(task["path"], dtype="<f8"), np.cumsum([n * m, n, m, n])
    )
    cost = cost.reshape(n, m)
    return cost, cost.astype(np.float32) if task["float32"] else cost, a, b


def objective_and_error(plan, cost, a, b):
    """Says what a plan, or the column of every row, costs and how far its marginals are off."""
    if plan.ndim == 1:
        rows = np.arange(len(plan))
        columns = np.bincount(plan, minlength=len(b)) / len(b)
        return float(cost[rows, plan].sum() / len(plan)), float(np.abs(columns - b).sum())
    off = max(np.abs(plan.sum(1) - a).sum(), np.abs(plan.sum(0) - b).sum())
    return float((plan * cost).sum()), float(off)


def answer(task):
    cost, given, a, b = read(task)
    run = PEERS[task["peer"]](given, a, b, task)
    print('{"ready": true}', flush=True)
    forget_peak()
    before, worked, started = memory("VmRSS:"), time.process_time(), time.perf_counter()
    plan = run()
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = memory("VmHWM:") - before
    objective, off = objective_and_error(plan, cost, a, b)
    return {
        "seconds": seconds,
        "processor_seconds": worked,
        "objective": objective,
        "marginal_error": off,
        "peak_bytes": peak,
    }


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as e:
        reply = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(reply), flush=True)
