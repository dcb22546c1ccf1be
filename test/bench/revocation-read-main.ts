// One reading of a revocation list in a process that has done nothing before, for `make bench`: the milliseconds it took
// on standard output. Arguments: the list's file and the CA's.
import { readFileSync } from 'node:fs';
import { timedReading } from './revocation-reading.ts';

const [listPath = '', caPath = ''] = process.argv.slice(2);
process.stdout.write(String(timedReading(readFileSync(listPath), readFileSync(caPath, 'utf8'))));
