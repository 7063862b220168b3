"""A copy of the tree in which one place after another is changed, and put back."""
import os
import shutil

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


class Gone(Exception):
    """The text to change does not stand there exactly once: write the mutant anew."""


class Tree:
    def __init__(self, path, parts=None):
        """@parts: folders to copy; None: all but what is built."""
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        if parts is None:
            shutil.copytree(TOP, path, symlinks=True,
                            ignore=shutil.ignore_patterns('.git', 'build', '__pycache__'))
        else:
            for part in parts:
                shutil.copytree(os.path.join(TOP, part), os.path.join(path, part))

    def read(self, name):
        with open(os.path.join(self.path, name), encoding='utf-8') as f:
            return f.read()

    def write(self, name, text):
        with open(os.path.join(self.path, name), 'w', encoding='utf-8') as f:
            f.write(text)

    def changed(self, name, before, after):
        return Changed(self, name, before, after)


class Changed:
    """While it lasts, @after stands in file @name instead of @before."""

    def __init__(self, tree, name, before, after):
        self.tree, self.name = tree, name
        self.original = tree.read(name)
        if self.original.count(before) != 1:
            raise Gone(f'{name}: the text to change stands there '
                       f'{self.original.count(before)} times; write the mutant anew')
        self.text = self.original.replace(before, after)

    def __enter__(self):
        self.tree.write(self.name, self.text)

    def __exit__(self, *_):
        self.tree.write(self.name, self.original)
