import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { suite, test } from 'node:test';
import { createLogger } from '../../../../dataplane/io/logger.ts';
import { LogFile } from '../../../../dataplane/io/log-file.ts';
import { LogSink } from '../../../../dataplane/io/log-sink.ts';
import { RateLimitedLog } from '../../../../dataplane/io/rate-limited-log.ts';
import { memorySink } from '../../../support/memory-sink.ts';

/** A reader that never takes anything. */
const stuck = (): Writable => new Writable({ highWaterMark: 10, write() {} });

/** A file on a disk with so many bytes of room. */
class Disk {
  text = '';
  room = 1000;

  readonly write = (bytes: Uint8Array): number => {
    const taken = Math.min(this.room, bytes.length);
    if (taken === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    this.text += Buffer.from(bytes.subarray(0, taken)).toString('utf8');
    this.room -= taken;
    return taken;
  };
}

suite('Logger', () => {
  test('writes JSON lines with level, time, bindings and message', async () => {
    const { sink, lines } = memorySink();
    const log = createLogger({ level: 'info', sink, bindings: { endpoint: 'main' } });
    log.info({ port: 443 }, 'Ready');
    log.debug('Not shown');
    const [line, ...more] = await lines();
    assert.equal(more.length, 0);
    assert.equal(line['level'], 'info');
    assert.equal(line['msg'], 'Ready');
    assert.equal(line['endpoint'], 'main');
    assert.equal(line['port'], 443);
    assert.match(String(line['time']), /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
  });

  test('prints no secret, at the top or one level below', async () => {
    const { sink, lines } = memorySink();
    const log = createLogger({ level: 'info', sink, bindings: { token: 'hunter2' } });
    log.info({ password: 'hunter2', request: { password: 'hunter2', token: 'hunter2', user: 'joe' } }, 'Login');
    const [line] = await lines();
    assert.ok(!JSON.stringify(line).includes('hunter2'));
    for (const name of ['token', 'password']) assert.equal(line[name], '[redacted]');
    assert.deepEqual(line['request'], { password: '[redacted]', token: '[redacted]', user: 'joe' });
  });

  test('a line leaves at once, those that follow it together, and the last when the process ends', async () => {
    const taken: string[] = [];
    const stream = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        taken.push(chunk);
        done();
      },
    });
    const sink = new LogSink(stream);
    for (const line of ['1\n', '2\n', '3\n']) sink.write(line);
    assert.deepEqual(taken, ['1\n']);
    await sink.flush(10_000);
    assert.deepEqual(taken.filter(Boolean), ['1\n', '2\n3\n']);

    const sinkPath = join(import.meta.dirname, '../../../../dataplane/io/log-sink.ts');
    const script = `
      const { LogSink } = await import(${JSON.stringify(sinkPath)});
      const sink = new LogSink(process.stdout);
      for (const line of ['1\\n', '2\\n', '3\\n']) sink.write(line);
      throw new RangeError('the end');`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.equal(stdout, '1\n2\n3\n');
  });

  test('drops and counts what a stopped reader does not take, within its bound', async () => {
    const stream = stuck();
    const sink = new LogSink(stream, 1000);
    for (let n = 0; n < 100; n += 1) sink.write(`${'x'.repeat(99)}\n`);
    assert.equal(sink.dropped, 90);
    assert.ok(stream.writableLength <= 1000);
    await sink.flush(1);
  });

  test('says how many lines a slow reader missed, with the next that it takes', async () => {
    const taken: string[] = [];
    let isReading = false;
    let release = (): void => undefined;
    const stream = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        taken.push(chunk);
        release = done;
        if (isReading) done();
      },
    });
    const sink = new LogSink(stream, 20);
    for (const line of ['first line\n', 'second\n', 'third line\n', 'fourth line\n']) sink.write(line);
    assert.equal(sink.dropped, 2);
    isReading = true;
    release();
    await sink.flush(10_000);
    const lines = taken.join('').split('\n');
    assert.deepEqual([lines[0], lines[2]], ['first line', 'second']);
    const notice = JSON.parse(lines[1] ?? '') as Record<string, unknown>;
    assert.deepEqual([notice['level'], notice['lost'], notice['msg']], ['warn', 2, 'Log lines were lost']);
  });

  test('goes on when a full disk has room again, and says how many lines were lost', async () => {
    const disk = new Disk();
    const sink = new LogSink(new PassThrough(), 1000, new LogFile(disk.write));
    sink.write('1\n');
    disk.room = 0;
    for (const line of ['2\n', '3\n']) sink.write(line);
    await sink.flush(1);
    assert.equal(sink.dropped, 2);
    sink.write('4\n');
    await sink.flush(1);
    disk.room = 1000;
    sink.write('5\n');
    await sink.flush(1);
    sink.write('6\n');
    await sink.flush(1);
    const [first, notice, ...rest] = disk.text.split('\n');
    assert.deepEqual([first, ...rest], ['1', '5', '6', '']);
    assert.equal((JSON.parse(notice ?? '') as Record<string, unknown>)['lost'], 3);
    assert.equal(sink.dropped, 3);
  });

  test('survives a reader that went away', async () => {
    const stream = new PassThrough();
    const sink = new LogSink(stream);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.destroy(new Error('EPIPE'));
    await closed;
    sink.write('late\n');
    assert.equal(sink.dropped, 1);
  });

  test('a process whose reader stopped neither waits nor hangs at its exit', async () => {
    const sinkPath = join(import.meta.dirname, '../../../../dataplane/io/log-sink.ts');
    const script = `
      const { LogSink } = await import(${JSON.stringify(sinkPath)});
      const sink = new LogSink(process.stdout, 300_000);
      for (let n = 0; n < 2000; n += 1) sink.write('x'.repeat(999) + '\\n');
      process.stderr.write('dropped ' + (sink.dropped > 0));
      await sink.flush(1);
      process.exit(0);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pause();
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const [code] = (await once(child, 'exit')) as [number];
    child.stdout.destroy();
    assert.equal(errors, 'dropped true');
    assert.equal(code, 0);
  });

  test('flushes what a slow reader still takes', async () => {
    const taken: string[] = [];
    const slow = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        taken.push(chunk);
        setImmediate(done);
      },
    });
    const sink = new LogSink(slow);
    for (let n = 0; n < 20; n += 1) sink.write(`${n}\n`);
    await sink.flush(10_000);
    assert.equal(taken.join(''), Array.from({ length: 20 }, (_, n) => `${n}\n`).join(''));
  });
});

suite('Rate-limited log', () => {
  test('lets a burst pass, then one a second, and says how many did not', async () => {
    const { sink, lines } = memorySink();
    let now = 0;
    const log = new RateLimitedLog(createLogger({ level: 'warn', sink }), () => now);
    for (let n = 0; n < 50; n += 1) log.warn({ n }, 'Refused a certificate');
    log.warn({}, 'Something else');
    assert.equal((await lines()).length, 11);
    now = 1000;
    log.warn({}, 'Refused a certificate');
    log.warn({}, 'Refused a certificate');
    const [line, ...more] = await lines();
    assert.equal(line['suppressed'], 40);
    assert.equal(more.length, 0);
  });

  test('a flood for one reason hides no other reason', async () => {
    const { sink, lines } = memorySink();
    let now = 0;
    const log = new RateLimitedLog(createLogger({ level: 'warn', sink }), () => now);
    for (let n = 0; n < 50; n += 1) log.warn({ reason: 'half-open-limit' }, 'Refused session start');
    log.warn({ reason: 'memory-short' }, 'Refused session start');
    assert.deepEqual(
      (await lines()).map(({ reason }) => reason),
      [...Array.from({ length: 10 }, () => 'half-open-limit'), 'memory-short'],
    );
    now = 1000;
    log.warn({ reason: 'memory-short' }, 'Refused session start');
    log.warn({ reason: 'half-open-limit' }, 'Refused session start');
    assert.deepEqual(
      (await lines()).map(({ suppressed }) => suppressed),
      [undefined, 40],
    );
  });

  test('reasons without end share a limit: neither memory nor log grows with them', async () => {
    const { sink, lines } = memorySink();
    const log = new RateLimitedLog(createLogger({ level: 'warn', sink }), () => 0);
    for (let n = 0; n < 10_000; n += 1) log.warn({ reason: `made-up-${n}` }, 'Refused session start');
    const told = (await lines()).length;
    assert.ok(told > 200 && told < 300, `${told} lines`);
  });

  test('goes on after the clock was set back', async () => {
    const { sink, lines } = memorySink();
    let now = 86_400_000;
    const log = new RateLimitedLog(createLogger({ level: 'warn', sink }), () => now);
    log.warn({}, 'Refused a certificate');
    now = 0;
    for (let n = 0; n < 5; n += 1) log.warn({}, 'Refused a certificate');
    assert.equal((await lines()).length, 6);
  });
});
