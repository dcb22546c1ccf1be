/** Something about a manifest that its author must or should change. */
export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** `Kind/name`; `-` where unknown. */
  readonly object: string;
  /** Dotted path such as `spec.dnsServers[1]`; `-` when it is about the whole object. */
  readonly field: string;
  readonly message: string;
}

/** `FILE:LINE: KIND/NAME: FIELD: MESSAGE`, one line whatever the parts hold; a warning says so in the message. */
export function formatFinding(finding: Finding): string {
  const { file, line, object, field, severity } = finding;
  const message = severity === 'warning' ? `warning: ${finding.message}` : finding.message;
  const text = `${file}:${line}: ${object}: ${field}: ${message}`;
  // oxlint-disable-next-line no-control-regex -- a name out of a manifest must not forge a line or drive a terminal
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** A finding as `validate --output json` prints it; null where it is about no object, or about the whole of it. */
export interface FindingRecord {
  readonly severity: Finding['severity'];
  readonly file: string;
  readonly line: number;
  readonly kind: string | null;
  readonly name: string | null;
  readonly field: string | null;
  readonly message: string;
}

/** The names and their order are part of the command's contract. */
export function findingRecord({ severity, file, line, object, field, message }: Finding): FindingRecord {
  const slash = object.indexOf('/');
  const known = (text: string): string | null => (text === '-' || text === '' ? null : text);
  const kind = known(slash < 0 ? object : object.slice(0, slash));
  return {
    severity,
    file,
    line,
    kind,
    name: slash < 0 ? null : known(object.slice(slash + 1)),
    field: known(field),
    message,
  };
}

/** Removes repetitions and orders by file, line and text. */
export function sortFindings(findings: readonly Finding[]): readonly Finding[] {
  const unique = new Map(findings.map((finding) => [formatFinding(finding), finding]));
  return [...unique.values()].sort(
    (a, b) => compareText(a.file, b.file) || a.line - b.line || compareText(formatFinding(a), formatFinding(b)),
  );
}

export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some((finding) => finding.severity === 'error');
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
