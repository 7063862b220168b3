"""Record files of the soaks: lines of JSON, each with the commit it was made at."""
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def mark():
    """The commit of this tree; mark.sh says when it is dirty."""
    return subprocess.run([os.path.join(HERE, 'mark.sh')], capture_output=True, text=True,
                          check=True).stdout.strip()


def rows(path, commit, key='commit'):
    """The lines of that commit."""
    if not os.path.exists(path):
        return []
    with open(path, encoding='ascii') as f:
        found = [json.loads(x) for x in f if x.strip()]
    return [r for r in found if r[key] == commit]


def add(path, commit, row, key='commit'):
    with open(path, 'a', encoding='ascii') as f:
        f.write(json.dumps({key: commit, **row}) + '\n')
