"""A VM on the soft back end, and fio: started, waited for, and told to end."""
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time


class Failed(Exception):
    """A part of the benchmark did not come to its figures."""


def run(*command, seconds=30, check=True):
    try:
        r = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as e:
        raise Failed(f'{os.path.basename(command[0])}: not done in {seconds} s') from e
    if check and r.returncode:
        text = (r.stderr or r.stdout).strip().splitlines()
        raise Failed(f'{" ".join(command[:3])}: status {r.returncode}: '
                     f'{text[-1] if text else ""}')
    return r.stdout


class Machine:
    """`with Machine(...)`: the VM runs inside; its state directory goes with it."""

    def __init__(self, holdfast, softload, disk, cmdline, vps=1, memory='64M'):
        self.holdfast = holdfast
        self.dir = tempfile.mkdtemp(prefix='hfbench')
        self.state = os.path.join(self.dir, 's')
        self.report_path = os.path.join(self.dir, 'report')
        self.command = [holdfast, 'run', '--backend', 'soft', '--kernel', softload, '--cmdline',
                        f'{cmdline} report={self.report_path}', '--vps', str(vps), '--memory',
                        memory, '--disk', disk, '--state', self.state]
        self.disk = disk
        self.process = None

    def __enter__(self):
        with open(os.path.join(self.dir, 'console'), 'wb') as console:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                            stdout=console, stderr=console)
        return self

    def __exit__(self, error, *unused):
        if error:
            print(f'  {self.logs()}', flush=True)
        if self.process.poll() is None:
            subprocess.run([self.holdfast, 'shutdown', '--state', self.state, '--power-off'],
                           capture_output=True, timeout=20, check=False)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.wait_released()
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait_released(self):
        """`run` ends with the guest; who holds the disk ends a moment later."""
        with open(self.disk, 'rb') as disk:
            for _ in range(500):
                try:
                    fcntl.flock(disk, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError:
                    time.sleep(.01)

    def logs(self):
        text = []
        for name in ('console', 's/partition.log', 's/paravisor.log', 's/guest.log'):
            path = os.path.join(self.dir, name)
            if os.path.isfile(path):
                with open(path, encoding='utf-8', errors='replace') as f:
                    text += [f'{name}: {line.rstrip()[:200]}' for line in f.readlines()[-3:]]
        return '; '.join(text)

    def listed(self):
        """The words of `holdfast list`; empty while nobody answers."""
        text = run(self.holdfast, 'list', '--state', self.state, check=False)
        return dict(re.findall(r'(\w+)=(\S+)', text))

    def inspect(self):
        return json.loads(run(self.holdfast, 'inspect', '--state', self.state, '--json'))

    def paravisors(self):
        """Processes that own or follow."""
        pids = {int(p['pid']) for p in self.inspect()['procs'].values()}
        return sorted(pid for pid in pids if pid and os.path.isfile(f'/proc/{pid}/smaps'))

    def partition_pid(self):
        with open(f'/proc/{self.listed()["paravisor_pid"]}/stat', encoding='ascii') as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])

    def descriptors(self):
        """What a paravisor holds open."""
        return len(os.listdir(f'/proc/{self.listed()["paravisor_pid"]}/fd'))

    def spent(self):
        """CPU time of the paravisor in ns, and the turns it has run."""
        words = self.listed()
        with open(f'/proc/{words["paravisor_pid"]}/schedstat', encoding='ascii') as f:
            return int(f.read().split()[0]), int(words['turns'])

    def wait_serving(self, above=0, seconds=15):
        """Until an owner with an epoch above @above serves."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            words = self.listed()
            if words.get('paravisor_pid', '0') != '0' and int(words['epoch']) > above:
                return words
            if self.process.poll() is not None:
                break
            time.sleep(.01)
        raise Failed(f'nobody serves after epoch {above}: {self.logs()}')

    def report(self, seconds):
        """The guest's own line, when it has ended and was content."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as e:
            raise Failed(f'the guest did not end in {seconds} s: {self.logs()}') from e
        if not os.path.isfile(self.report_path):
            raise Failed(f'no report: {self.logs()}')
        with open(self.report_path, encoding='utf-8') as f:
            report = json.load(f)
        if not report['ok']:
            raise Failed(f'the guest was not content: {json.dumps(report)[:400]}')
        return report


def make_disk(path, mib):
    """Written whole with noise, so that no read is answered from a hole."""
    with open(path, 'wb') as f:
        for _ in range(mib):
            f.write(os.urandom(1 << 20))
        f.flush()
        os.fsync(f.fileno())


def fio(path, rw, depth, seconds):
    """iops and latency in us of fio on @path, uniformly random as the guest is."""
    text = run('fio', '--name=bench', f'--filename={path}', '--ioengine=io_uring', '--direct=1',
               f'--iodepth={depth}', '--bs=4k', f'--rw={rw}', '--norandommap',
               f'--runtime={seconds}', '--time_based', '--lat_percentiles=1',
               '--clat_percentiles=0', '--output-format=json', seconds=seconds + 30)
    job = json.loads(text[text.index('{'):])['jobs'][0]
    side = job['read' if rw == 'randread' else 'write']
    latency, levels = side['lat_ns'], job['iodepth_level']
    if levels[str(depth) if depth < 64 else '>=64'] < 90:
        raise Failed(f'fio did not keep {depth} requests in flight: {levels}')
    return {'iops': side['iops'],
            'latency_us': {'p50': latency['percentile']['50.000000'] / 1e3,
                           'p99': latency['percentile']['99.000000'] / 1e3,
                           'max': latency['max'] / 1e3}}
