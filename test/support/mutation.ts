/** One input made from a corpus: an entry with up to four random edits, sometimes spliced with another. */
export function mutate(corpus: readonly Uint8Array[], random: () => number): Uint8Array {
  const below = (limit: number): number => Math.floor(random() * limit);
  let input = [...(corpus[below(corpus.length)] ?? [])];
  for (let edits = below(5); edits > 0; edits -= 1) input = EDITS[below(EDITS.length)](input, corpus, below);
  return Uint8Array.from(input.slice(0, MAX_INPUT_BYTES));
}

type Edit = (input: number[], corpus: readonly Uint8Array[], below: (limit: number) => number) => number[];

const MAX_INPUT_BYTES = 4096;
/** Numbers that sit on the borders of length fields. */
const BORDERS = [0, 1, 2, 4, 8, 9, 0x7f, 0x80, 0xff];

const EDITS: readonly Edit[] = [
  function flipBit(input, _, below) {
    const at = below(input.length);
    if (input.length > 0) input[at] ^= 1 << below(8);
    return input;
  },
  function setBorder(input, _, below) {
    if (input.length > 0) input[below(input.length)] = BORDERS[below(BORDERS.length)];
    return input;
  },
  function setRandom(input, _, below) {
    if (input.length > 0) input[below(input.length)] = below(256);
    return input;
  },
  function truncate(input, _, below) {
    return input.slice(0, below(input.length + 1));
  },
  function remove(input, _, below) {
    input.splice(below(input.length + 1), below(16));
    return input;
  },
  function insert(input, _, below) {
    input.splice(below(input.length + 1), 0, ...Array.from({ length: below(16) }, () => below(256)));
    return input;
  },
  function repeat(input, _, below) {
    const start = below(input.length + 1);
    input.splice(start, 0, ...input.slice(start, start + below(256)));
    return input;
  },
  function splice(input, corpus, below) {
    const other = corpus[below(corpus.length)] ?? new Uint8Array(0);
    return [...input.slice(0, below(input.length + 1)), ...other.subarray(below(other.length + 1))];
  },
];
