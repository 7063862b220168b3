"""Figures: what was measured, how it is shown, and how disturbed the machine was."""
import json
import os
import threading
import time

FIELDS = ('name', 'unit', 'n', 'p50', 'p99', 'max', 'value', 'ratio', 'against')


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def short(x):
    if x is None:
        return '-'
    if isinstance(x, str):
        return x
    if isinstance(x, int) or abs(x) >= 1000:
        return f'{x:.0f}'
    return f'{x:.3f}' if abs(x) < 10 else f'{x:.1f}'


class Figures:
    """The one list; a field that does not apply is null."""

    def __init__(self):
        self.rows = []

    def add(self, name, unit, **fields):
        row = dict.fromkeys(FIELDS)
        row.update(name=name, unit=unit, **fields)
        for key, value in row.items():
            if isinstance(value, float):
                row[key] = round(value, 4)
        self.rows.append(row)
        print(f'  {name}: ' + ' '.join(f'{k}={short(row[k])}' for k in FIELDS[2:]
                                       if row[k] is not None), flush=True)

    def samples(self, name, unit, values, **fields):
        """Quantiles of @values; `value` is their median unless it is given."""
        if not values:
            print(f'  {name}: nothing was measured', flush=True)
            return
        fields.setdefault('value', median(values))
        self.add(name, unit, n=len(values), p50=median(values), p99=quantile(values, .99),
                 max=max(values), **fields)

    def absent(self, name, unit, why):
        """A name that cannot be measured here stays in the list."""
        self.add(name, unit, against=f'not measured: {why}')

    def table(self, notes):
        widths = [max(len(f), *(len(short(r[f])) for r in self.rows)) for f in FIELDS[:-1]]
        print()
        for row in [dict(zip(FIELDS, FIELDS)), *self.rows]:
            cells = [short(row[f]) for f in FIELDS]
            print('  '.join([c.ljust(w) if i < 2 else c.rjust(w)
                             for i, (c, w) in enumerate(zip(cells, widths))] + cells[-1:]).rstrip())
        print()
        for note in notes:
            print('* ' + note)

    def save(self, path):
        with open(path + '.new', 'w', encoding='utf-8') as f:
            json.dump(self.rows, f, indent=1)
            f.write('\n')
        os.replace(path + '.new', path)


class Watchdog:
    """How late a thread is that wants to run each 5 ms, and how much time was
    stolen: whoever reads a tail latency looks here first."""
    STEP = 0.005

    def __init__(self):
        self.late_ms = []
        self.stop = threading.Event()
        self.before = self.ticks()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    @staticmethod
    def ticks():
        with open('/proc/stat', encoding='ascii') as f:
            return [int(x) for x in f.readline().split()[1:9]]

    def watch(self):
        while not self.stop.is_set():
            wanted = time.monotonic() + self.STEP
            time.sleep(self.STEP)
            self.late_ms.append((time.monotonic() - wanted) * 1e3)

    def end(self):
        """Per cent of the time that was stolen."""
        self.stop.set()
        self.thread.join()
        spent = [b - a for a, b in zip(self.before, self.ticks())]
        return 100. * spent[7] / max(1, sum(spent))

    def summary(self):
        """In words, beside a figure whose tail it explains."""
        steal = self.end()
        late = sum(ms > 1 for ms in self.late_ms)
        return (f'steal {steal:.1f} %, a watchdog late by > 1 ms {late} times of '
                f'{len(self.late_ms)}, {max(self.late_ms, default=0):.1f} ms at most')

    def report(self, figures):
        steal = self.end()
        figures.samples('host.watchdog_late_ms', 'ms', self.late_ms)
        figures.add('host.steal_pct', '%', value=steal)
        figures.add('host.cpus', 'cpus', value=float(os.cpu_count()))
