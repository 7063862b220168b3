#!/usr/bin/env python3
"""Is the page of `holdfast log --html` what it should be?

With a headless Chromium it is opened, its script runs, and zoom, hover and
filter are tried by events of mouse and keyboard. Without one its data is read.
usage: page-check.py PAGE.html TAKE-OVERS"""
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

PROBE = '''<script>
addEventListener('load', () => {
	const canvas = document.getElementById('view'), found = {}, body = document.body.dataset;
	const mouse = (type, x, y, more) => canvas.dispatchEvent(new (type === 'wheel' ? WheelEvent :
		MouseEvent)(type, Object.assign({ clientX: x, clientY: y, bubbles: true }, more)));
	const width = () => body.to - body.from;
	found.whole = width();
	found.lanes = +body.lanes;
	for (let i = 0; i < 5; i++)
		mouse('wheel', 600, 200, { deltaY: -100 });
	found.zoomed = width();
	found.from = +body.from;
	mouse('mousedown', 600, 200);
	mouse('mousemove', 500, 200);
	dispatchEvent(new MouseEvent('mouseup'));
	found.dragged = +body.from;
	mouse('dblclick', 600, 200);
	found.back = width();
	found.tips = [];
	for (let y = 60; y < 660; y += 9)
		for (let x = 140; x < 1000; x += 60) {
			mouse('mousemove', x, y);
			found.tips.push(document.getElementById('tip').textContent);
		}
	const px = g.getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
	for (let i = 0; i < px.length; i += 4)
		colours.add(px[i] << 16 | px[i + 1] << 8 | px[i + 2]);
	found.colours = colours.size;
	document.getElementById('filter').value = '^channel';
	document.getElementById('filter').dispatchEvent(new Event('input'));
	found.filtered = +body.lanes;
	const out = document.createElement('pre');
	out.id = 'found';
	out.textContent = JSON.stringify(found);
	document.body.append(out);
});
</script>'''


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.inside, self.text, self.outside = None, {}, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.inside = attrs.get('id') if tag in ('script', 'pre') else None
        for name in ('src', 'href'):
            if name in attrs:
                self.outside.append(attrs[name])

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.text[self.inside] = self.text.get(self.inside, '') + data


def read(text):
    r = Reader()
    r.feed(text)
    return r


def check(what, holds):
    if not holds:
        sys.exit(f'page-check: {what}')


def check_data(data, takeovers):
    reasons = [m[2] for m in data['marks']]
    check(f'take-overs {reasons}, wanted {takeovers}', reasons == takeovers)
    check('machines without a lane', len(data['lanes']) > 10)
    check('no state as a bar', len(data['bars']) > 100)
    check('no message', any(a[0] != a[1] for a in data['arrows']))
    check('no outside event', any(a[0] == a[1] for a in data['arrows']))
    for lane, begin, end, state, first, last in data['bars']:
        kind = str(data['lanes'][lane][0])
        check('a bar that ends before it begins', begin <= end and first <= last)
        check('a state without a name', str(state) in data['kinds'][kind]['states'])


def check_browser(browser, text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'page.html')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text.replace('</body>', PROBE + '</body>'))
        got = subprocess.run(
            [browser, '--headless', '--no-sandbox', '--disable-gpu', '--window-size=1200,700',
             f'--user-data-dir={folder}/profile', '--virtual-time-budget=20000', '--dump-dom',
             'file://' + path], capture_output=True, text=True, timeout=90, check=False)
    dom = read(got.stdout)
    check(f'the browser ran no script: {got.stderr[-500:]}', 'found' in dom.text)
    found = json.loads(dom.text['found'])
    tips = '\n'.join(found.pop('tips'))
    print(found)
    check('no lane is shown', found['lanes'] > 3)
    check('the wheel does not zoom', found['zoomed'] < found['whole'] / 3)
    check('dragging does not move', found['dragged'] > found['from'])
    check('a double click does not show all', found['back'] == found['whole'])
    check('states have no colours', found['colours'] > 8)
    check('hover names no state', re.search(r'channel\[1\] \w+\nevents \d+ to \d+', tips))
    check('the filter does not filter', 0 < found['filtered'] < found['lanes'])


def main():
    page, takeovers = sys.argv[1:]
    with open(page, encoding='ascii') as f:
        text = f.read()
    dom = read(text)
    check(f'not one file: {dom.outside}', not dom.outside and 'http' not in text)
    check_data(json.loads(dom.text['data']), takeovers.split(','))
    browser = shutil.which('chromium') or shutil.which('chromium-browser')
    if browser:
        check_browser(browser, text)
    else:
        print('there is no Chromium here: only the data of the page was checked')


if __name__ == '__main__':
    main()
