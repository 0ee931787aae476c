"""For a teacher: what is done, as JSON or as JUnit's XML."""
import json
from xml.etree import ElementTree

from minigpt_np.files.atomic import atomic_write

from . import show
from .verdict import begin, finish


def write(path, exercises, folder):
    """Check the exercises and write the report; returns 0 if all are done, else 1."""
    begun = [begin(exercise.name, folder) for exercise in exercises]
    verdicts = [finish(exercise.name, process) for exercise, process in zip(exercises, begun)]
    make = junit if path.suffix == ".xml" else as_json
    with atomic_write(path) as file:
        file.write(make(exercises, verdicts, folder))
    done = sum(one.done for one in verdicts)
    print(f"{done} of {len(exercises)} done; {path} written.")
    return 0 if done == len(exercises) else 1


def as_json(exercises, verdicts, folder):
    rows = [dict(number=exercise.number, exercise=exercise.name, passed=verdict.done,
                 state=verdict.state,
                 fault=verdict.text, diagnosis=verdict.texts, seconds=round(verdict.seconds, 3))
            for exercise, verdict in zip(exercises, verdicts)]
    report = dict(folder=str(folder), done=sum(row["passed"] for row in rows), of=len(rows),
                  exercises=rows)
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def junit(exercises, verdicts, folder):
    """One testcase an exercise; a failure's text is what check.py prints."""
    suite = ElementTree.Element("testsuite", name="exercises", tests=str(len(exercises)),
                                errors="0",
                                failures=str(sum(verdict.state == "wrong" for verdict in verdicts)),
                                skipped=str(sum(verdict.state == "not written yet" for verdict
                                                in verdicts)),
                                time=f"{sum(verdict.seconds for verdict in verdicts):.3f}")
    for exercise, verdict in zip(exercises, verdicts):
        row = ElementTree.SubElement(suite, "testcase", classname=str(folder),
                                     time=f"{verdict.seconds:.3f}",
                                     name=f"{exercise.number:02} {exercise.name}")
        text = "\n".join(show.verdict_lines(exercise, verdict))
        if verdict.state == "wrong":
            message = " ".join(verdict.texts or [verdict.text])
            ElementTree.SubElement(row, "failure",
                                   message=printable(message)).text = printable(text)
        elif not verdict.done:
            ElementTree.SubElement(row, "skipped", message=verdict.state)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n"


def printable(text):
    """Without what XML has no room for: control characters, halves of pairs."""
    return "".join(c for c in text if c in "\n\t" or c >= " " and not 0xD800 <= ord(c) < 0xE000)
