// Walks through the UI as a user would, in a real browser: run.mjs OUTPUT BINARY-OR-ADDRESS.
// A binary is started on a free port with an empty directory; an address (http://…/) must be of a server with --push.enable,
// --web.enable-admin-api and the exemplar storage. Screenshots and the report land in OUTPUT. Chromium is found as CHROMIUM or /usr/bin/chromium.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import { seed } from './seed.mjs';

const [output, server] = process.argv.slice(2);
if (!output || !server) {
  console.error('usage: run OUTPUT BINARY-OR-ADDRESS');
  process.exit(2);
}
mkdirSync(output, { recursive: true });

const CONFIG = `
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: ferula
    static_configs: [{targets: ['SELF'], labels: {tier: engine}}]
  - job_name: files
    file_sd_configs: [{files: ['sd.json']}]
    relabel_configs:
      - {source_labels: [env], regex: retired, action: drop}
      - {source_labels: [team], target_label: owner}
`;
const FOUND = [
  { targets: ['127.0.0.1:1'], labels: { env: 'staging', team: 'storage' } },
  { targets: ['10.0.0.9:9100'], labels: { env: 'retired', team: 'web' } },
];

/** Starts the binary; the address and the way to stop it. */
async function start(binary) {
  const directory = mkdtempSync(join(tmpdir(), 'ferula-e2e-'));
  // A port of our own choice, so that the configuration can name it.
  const port = 20000 + Math.floor(Math.random() * 20000);
  writeFileSync(join(directory, 'prometheus.yml'), CONFIG.replace('SELF', `127.0.0.1:${port}`));
  writeFileSync(join(directory, 'sd.json'), JSON.stringify(FOUND));
  const flags = [`--web.listen-address=127.0.0.1:${port}`, '--push.enable', '--web.enable-admin-api', '--enable-feature=exemplar-storage', '--storage.shards=2'];
  const child = spawn(resolve(binary), flags, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (data) => (log += data));
  const base = `http://127.0.0.1:${port}/`;
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended:\n${log}`);
    const ready = await fetch(`${base}-/ready`).then((r) => r.ok, () => false);
    if (ready) break;
    if (Date.now() > deadline) throw new Error(`the server is not ready:\n${log}`);
    await new Promise((done) => setTimeout(done, 100));
  }
  const stop = async () => {
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  return { base, stop };
}

const { base, stop } = /^https?:/.test(server) ? { base: server.replace(/\/*$/, '/'), stop: async () => {} } : await start(server);

const report = [];
const faults = [];
function check(what, holds, detail = '') {
  report.push(`${holds ? 'ok  ' : 'FAIL'} ${what}${holds || !detail ? '' : `: ${detail}`}`);
  if (!holds) faults.push(what);
}

const PAGES = [
  ['Query', 'query', 'Query'],
  ['Metrics', 'metrics-explorer', 'Metrics'],
  ['Cardinality', 'tsdb-status', 'Cardinality'],
  ['Alerts', 'alerts', 'Alerts'],
  ['Rules', 'rules', 'Rules'],
  ['Alertmanagers', 'alertmanager-discovery', 'Alertmanagers'],
  ['Targets', 'targets', 'Targets'],
  ['Discovery', 'service-discovery', 'Service discovery'],
  ['Push groups', 'push', 'Push groups'],
  ['Queries', 'active-queries', 'Queries'],
  ['Status', 'status', 'Status'],
  ['Flags', 'flags', 'Flags'],
  ['Configuration', 'config', 'Configuration'],
];

/** What a server may lack; the pages say so. */
const OPTIONAL = ['api/v1/status/active_queries', 'api/v1/status/top_queries'];

/** Does the canvas of the graph hold something that is not one colour? */
const drawn = (page) =>
  page.evaluate(() => {
    const canvas = document.querySelector('.plot canvas');
    if (!canvas) return 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let i = 0; i < data.length; i += 4 * 7) if (data[i + 3] > 200) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return colours.size;
  });

async function walk(browser, width, height, theme, seeded) {
  const end = `&g0.end_input=${new Date(seeded).toISOString().slice(0, 19).replace('T', '+')}`;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  const page = await context.newPage();
  const messages = [];
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && messages.push(`${m.text()} ${m.location().url}`));
  page.on('pageerror', (e) => messages.push(String(e.stack)));
  const at = (what) => `${width}px: ${what}`;
  let number = 0;
  const shot = async (name) => page.screenshot({ path: join(output, `${width}-${String(++number).padStart(2, '0')}-${name}.png`) });
  const fits = async (name) => {
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(at(`${name} fits the width`), over <= 0, `${over} px too wide`);
  };
  const small = width < 861;
  const menu = async () => small && (await page.getByRole('button', { name: 'Menu' }).click());

  // A fresh server: what is there, what is typed, what comes.
  await page.goto(base);
  await page.waitForSelector('.cm-content');
  check(at('/ leads to /query'), new URL(page.url()).pathname.endsWith('/query'), page.url());
  await shot('fresh');
  await page.locator('.cm-content').click();
  await page.keyboard.type('rate(');
  await page.keyboard.type('shop_ord', { delay: 40 });
  const options = page.locator('.cm-tooltip-autocomplete li');
  await options.filter({ hasText: 'shop_orders_total' }).first().waitFor({ timeout: 10_000 });
  check(at('completion knows the metrics'), (await options.allTextContents()).some((t) => t.includes('shop_orders_total')));
  await shot('completion');
  // The list does not take a key in its first moment, lest it takes one that was meant for something else.
  await page.waitForTimeout(150);
  await page.keyboard.press('Enter');
  await page.keyboard.type('{sh', { delay: 40 });
  await options.filter({ hasText: /^shop$/ }).first().waitFor({ timeout: 10_000 });
  await page.waitForTimeout(150);
  await page.keyboard.press('Enter');
  await page.keyboard.type('=~"north|south"', { delay: 15 });
  await page.keyboard.press('Escape');
  await page.keyboard.press('End');
  const sofar = await page.locator('.cm-content').innerText();
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText('rate(shop_orders_total{shop=~"north|south"}[2m])');
  check(at('labels are completed'), /shop_orders_total\{shop=~"north\|south"/.test(sofar.replaceAll('\n', '')), sofar);
  await page.keyboard.press('Enter');
  await page.getByRole('tab', { name: 'Graph' }).click();
  await page.waitForSelector('.plot canvas');
  await page.waitForFunction(() => document.querySelectorAll('.legend li').length === 2);
  check(at('a graph is drawn'), (await drawn(page)) > 3);
  await shot('graph');
  await fits('the graph');

  // Zoom by drawing a stretch.
  const box = await page.locator('.plot .u-over').boundingBox();
  await page.mouse.move(box.x + box.width * 0.55, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height / 2, { steps: 5 });
  await page.mouse.move(box.x + box.width * 0.85, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => new URLSearchParams(location.search).has('g0.end_input'));
  const range = new URL(page.url()).searchParams.get('g0.range_input');
  check(at('drawing a stretch zooms'), /^1[78]m/.test(range), range);
  await page.waitForSelector('[aria-busy=false].answer');
  await shot('zoomed');
  await page.goBack();
  await page.waitForFunction(() => !new URLSearchParams(location.search).has('g0.end_input'));
  check(at('back undoes the zoom'), new URL(page.url()).searchParams.get('g0.range_input') === '1h');

  // The other forms.
  await page.getByRole('button', { name: 'Stacked' }).click();
  await page.waitForTimeout(300);
  check(at('stacked'), page.url().includes('display_mode=stacked') && (await drawn(page)) > 3);
  await page.getByRole('checkbox', { name: 'Exemplars' }).check();
  await page.waitForTimeout(600);
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height * 0.4);
  await page.waitForSelector('.tip');
  await shot('stacked-exemplars');
  await page.goto(`${base}query?g0.expr=${encodeURIComponent('rate(shop_request_seconds[2m])')}&g0.tab=graph${end}`);
  await page.waitForSelector('.plot canvas');
  check(at('native histograms become a heatmap'), (await page.getByRole('button', { name: 'Heatmap' }).getAttribute('aria-pressed')) === 'true' && (await drawn(page)) > 10);
  await shot('heatmap');
  await page.getByRole('tab', { name: 'Table' }).click();
  await page.waitForSelector('.histogram svg rect');
  await shot('histogram-table');
  await page.goto(`${base}query?g0.expr=${encodeURIComponent('sum by (shop) (rate(shop_orders_total[5m])) / ignoring (shop) group_left sum(rate(shop_orders_total[5m]))')}&g0.tab=explain`);
  await page.waitForSelector('.tree .node');
  check(at('the plan is explained'), (await page.locator('.tree .node').count()) >= 3);
  await shot('explain');
  await page.getByRole('button', { name: 'One moment' }).click();
  await page.waitForFunction(() => document.querySelector('.tree .node') && !document.querySelector('.tree')?.textContent.includes('steps of'));
  check(at('one moment is explained'), (await page.locator('.tree .node').count()) >= 3);
  await fits('the plan');

  // Mistakes.
  await page.goto(`${base}query?g0.expr=${encodeURIComponent('sum(rate(shop_orders_total)')}&g0.tab=table`);
  messages.splice(0, messages.length, ...messages.filter((m) => !m.includes('api/v1/query')));
  await page.waitForSelector('[role=alert]');
  check(at('a wrong expression is said to be wrong'), (await page.locator('[role=alert]').innerText()).includes('parse error'));
  await shot('mistake');
  await page.waitForTimeout(100);
  const wrong = messages.findIndex((m) => m.includes('400') && m.includes('api/v1/query'));
  if (wrong >= 0) messages.splice(wrong, 1);

  // Old links.
  await page.goto(`${base}graph?g0.expr=up&g0.tab=0&g0.stacked=1&g0.range_input=15m&g1.expr=shop_hostile&g1.tab=1`);
  await page.waitForSelector('.plot canvas');
  await page.waitForSelector('.result');
  check(at('an old link opens'), new URL(page.url()).pathname.endsWith('/query') && (await page.locator('.panel').count()) === 2);
  const hostile = await page.locator('.result').innerText();
  check(at('markup in labels stays text'), hostile.includes('<img src=x') && (await page.evaluate(() => window.hurt)) === undefined);
  await shot('old-link');

  // The theme.
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await background();
  await menu();
  await page.getByRole('button', { name: theme === 'dark' ? 'Light' : 'Dark', exact: true }).click();
  if (small) await page.keyboard.press('Escape');
  check(at('the theme changes'), (await background()) !== before);
  await page.waitForTimeout(250);
  await shot('other-theme');
  await page.reload();
  await page.waitForSelector('.panel');
  check(at('the theme stays'), (await background()) !== before);
  await menu();
  await page.getByRole('button', { name: 'Auto', exact: true }).click();
  if (small) await page.keyboard.press('Escape');

  // Every page, by the menu.
  for (const [name, path, title] of PAGES) {
    await menu();
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click();
    await page.waitForFunction((t) => document.querySelector('h1')?.textContent === t, title);
    await page.waitForFunction(() => !document.querySelector('.wait'), undefined, { timeout: 15_000 });
    await page.waitForTimeout(250);
    check(at(`${name} opens`), new URL(page.url()).pathname.endsWith(`/${path}`), page.url());
    check(at(`${name} has no error`), (await page.locator('.main [role=alert]').count()) === 0, await page.locator('.main [role=alert]').allInnerTexts().then((t) => t.join('; ')));
    await fits(name);
    await shot(path);
  }

  // Deeper: a metric, relabeling, a deletion that is asked for twice.
  await page.goto(`${base}metrics-explorer?metric=shop_orders_total`);
  await page.getByText('3 series in the last hour').waitFor();
  await shot('metric');
  await page.goto(`${base}service-discovery`);
  await page.getByRole('row').filter({ hasText: 'retired' }).getByRole('button', { name: 'Steps' }).first().click();
  await page.waitForSelector('dialog[open]');
  await page.waitForFunction(() => !document.querySelector('dialog .wait'));
  check(at('relabeling says which rule drops a target'), (await page.locator('dialog .steps').innerText()).includes('drops the target'));
  await shot('relabeling');
  await page.keyboard.press('Escape');
  await page.goto(`${base}push`);
  const groups = page.locator('details.pool');
  await groups.first().waitFor();
  const had = await groups.count();
  await groups.last().locator('summary').click({ position: { x: 12, y: 20 } });
  await shot('push-open');
  await groups.last().getByRole('button', { name: 'Delete…' }).click();
  await page.waitForSelector('dialog[open]');
  await shot('push-delete');
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.waitForFunction((n) => document.querySelectorAll('details.pool').length === n, had - 1);
  check(at('a push group is deleted'), true);

  // By keyboard alone.
  await page.goto(`${base}targets`);
  await page.waitForSelector('.targets');
  await page.keyboard.press('Tab');
  const first = await page.evaluate(() => document.activeElement?.textContent);
  check(at('the first stop leads to the content'), first === 'To the content', first);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  const focus = await page.evaluate(() => ({ inside: !!document.activeElement?.closest('main'), outline: getComputedStyle(document.activeElement).outlineStyle }));
  check(at('focus is inside the content and visible'), focus.inside && focus.outline !== 'none', JSON.stringify(focus));
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, a, input, select')].filter((e) => !(e.getAttribute('aria-label') || e.textContent?.trim() || e.labels?.length || e.getAttribute('aria-hidden'))).length);
  check(at('every control has a name'), nameless === 0, String(nameless));

  // A page asks whether the server has these; browsers log the answer no.
  const known = messages.filter((m) => m.includes('404') && OPTIONAL.some((path) => m.includes(`${base}${path}`)));
  if (known.length > 0) report.push(`note ${at('not on this server')}: ${[...new Set(known.map((m) => new URL(m.split(' ').at(-1)).pathname))].join(', ')}`);
  const unknown = messages.filter((m) => !known.includes(m));
  check(at('the console is clean'), unknown.length === 0, unknown.join(' | '));
  await context.close();
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let seeded = Date.now();
try {
  for (const [width, height, theme] of [
    [1280, 800, 'light'],
    [360, 780, 'dark'],
  ]) {
    seeded = await seed(base).catch((error) => {
      // The second time, and on a server that has seen this before, the same samples are there already.
      if (width === 1280 && !/^https?:/.test(server)) throw error;
      return seeded;
    });
    try {
      await walk(browser, width, height, theme, seeded);
    } catch (error) {
      check(`${width}px: the walk comes to its end`, false, String(error.stack));
    }
  }
} finally {
  await browser.close();
  await stop();
}
writeFileSync(join(output, 'report.txt'), `${report.join('\n')}\n`);
console.log(report.join('\n'));
console.log(faults.length === 0 ? `all ${report.length} checks hold` : `${faults.length} of ${report.length} checks FAIL`);
process.exit(faults.length === 0 ? 0 : 1);
