// Data that a fresh server does not have by itself: native histograms, exemplars, names that try to be markup. Remote write 1.0, written
// out by hand: protobuf, and snappy that holds nothing but literals.

const varint = (n) => {
  const out = [];
  let rest = BigInt(n);
  while (rest >= 0x80n) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return out;
};
const zigzag = (n) => (n >= 0 ? 2 * n : -2 * n - 1);
const double = (n) => [...new Uint8Array(new Float64Array([n]).buffer)];
const key = (field, type) => varint((field << 3) | type);
const number = (field, n) => [...key(field, 0), ...varint(n)];
const float = (field, n) => [...key(field, 1), ...double(n)];
const message = (field, bytes) => [...key(field, 2), ...varint(bytes.length), ...bytes];
const text = (field, value) => message(field, [...new TextEncoder().encode(value)]);
const label = (name, value) => [...text(1, name), ...text(2, value)];

function snappy(bytes) {
  const parts = [varint(bytes.length)];
  for (let at = 0; at < bytes.length; at += 60000) {
    const piece = bytes.slice(at, at + 60000);
    const length = piece.length - 1;
    parts.push([61 << 2, length & 255, length >> 8], piece);
  }
  return Uint8Array.from(parts.flat());
}

/** A native histogram whose observations wander from 0.05 to 5 seconds. */
function histogram(step, ms) {
  const first = -12;
  const counts = Array.from({ length: 24 }, (_, i) => {
    const centre = 12 + 7 * Math.sin(step / 18);
    return Math.round(step * 4 * Math.exp(-((i - centre) ** 2) / 9));
  });
  let before = 0;
  const deltas = counts.map((n) => {
    const delta = n - before;
    before = n;
    return delta;
  });
  const all = counts.reduce((a, b) => a + b, 0);
  const packed = deltas.flatMap((d) => varint(zigzag(d)));
  const span = [...number(1, zigzag(first)), ...number(2, counts.length)];
  return [
    ...number(1, all),
    ...float(3, all * 0.4),
    ...number(4, zigzag(1)),
    ...float(5, 0.001),
    ...number(6, 0),
    ...message(11, span),
    ...message(12, packed),
    ...number(15, ms),
  ];
}

/** Sends an hour of samples, one every 15 seconds; the time of the last. */
export async function seed(base) {
  const now = Math.floor(Date.now() / 15000) * 15000;
  const steps = Array.from({ length: 240 }, (_, i) => ({ i, ms: now - (239 - i) * 15000 }));
  const series = (labels, parts) => message(1, [...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([n, v]) => message(1, label(n, v))), ...parts]);
  const sample = (value, ms) => message(2, [...float(1, value), ...number(2, ms)]);
  const exemplar = (i, value, ms) => message(3, [...message(1, label('trace_id', `4bf92f3577b34da6a3ce929d0e0e${String(i).padStart(4, '0')}`)), ...float(2, value), ...number(3, ms)]);
  const body = [];
  for (const [n, shop] of ['north', 'south', 'west'].entries()) {
    const labels = { __name__: 'shop_orders_total', job: 'shop', instance: `${shop}:8080`, shop };
    const rising = (i) => Math.round(i * (20 + 9 * n) + 60 * Math.sin(i / (7 + n)) + 60);
    const exemplars = n === 0 ? steps.filter((s) => s.i % 16 === 0).flatMap((s) => exemplar(s.i, 0.2 + (s.i % 7) / 9, s.ms)) : [];
    body.push(...series(labels, [...steps.flatMap((s) => sample(rising(s.i), s.ms)), ...exemplars]));
  }
  body.push(...series({ __name__: 'shop_request_seconds', job: 'shop', instance: 'north:8080' }, steps.flatMap((s) => message(4, histogram(s.i + 1, s.ms)))));
  body.push(...series({ __name__: 'shop_hostile', job: 'shop', text: '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>' }, steps.slice(-4).flatMap((s) => sample(1, s.ms))));
  const answer = await fetch(`${base}api/v1/write`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy', 'x-prometheus-remote-write-version': '0.1.0' },
    body: snappy(body),
  });
  if (!answer.ok) throw new Error(`remote write: ${answer.status} ${await answer.text()}`);
  for (const instance of ['db1', 'db2/main']) {
    const place = instance.includes('/') ? `instance@base64/${Buffer.from(instance).toString('base64url')}` : `instance/${instance}`;
    const pushed = await fetch(`${base}metrics/job/backup/${place}`, {
      method: 'PUT',
      body: '# HELP backup_seconds How long the backup took.\n# TYPE backup_seconds gauge\nbackup_seconds{kind="full"} 321.5\nbackup_seconds{kind="log"} 2.25\n# TYPE backup_done_total counter\nbackup_done_total 17\n',
    });
    if (!pushed.ok) throw new Error(`push: ${pushed.status} ${await pushed.text()}`);
  }
  return now;
}
