"""For a teacher: what is done, as JSON. (pytest writes JUnit's XML: see grade.py.)"""
import json

from minigpt_np.files.atomic import atomic_write

from .verdict import begin, finish


def write(path, exercises, folder):
    """Check the exercises and write the report; returns 0 if all are done, else 1."""
    begun = [begin(exercise.name, folder) for exercise in exercises]
    verdicts = [finish(exercise.name, process) for exercise, process in zip(exercises, begun)]
    done = sum(verdict.done for verdict in verdicts)
    rows = [dict(number=exercise.number, exercise=exercise.name, passed=verdict.done,
                 state=verdict.state, fault=verdict.text, diagnosis=verdict.texts,
                 seconds=round(verdict.seconds, 3))
            for exercise, verdict in zip(exercises, verdicts)]
    report = dict(folder=str(folder), done=done, of=len(rows), exercises=rows)
    with atomic_write(path) as file:
        file.write((json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    print(f"{done} of {len(rows)} done; {path} written.")
    return 0 if done == len(rows) else 1
