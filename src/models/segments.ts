/** A stretch of a file that is fetched at once. */
export interface Segment {
  index: number;
  /** Offset of the first byte. */
  start: number;
  /** Offset behind the last byte. */
  end: number;
}

/** A file of this size in stretches of `segmentBytes`; the last one may be shorter. */
export function segmentsOf(sizeBytes: number, segmentBytes: number): Segment[] {
  return Array.from({ length: Math.ceil(sizeBytes / segmentBytes) }, (_, index) =>
    segmentAt(index, sizeBytes, segmentBytes),
  );
}

/** The segments whose last byte lies in the stretch from `from` to before `to`. */
export function segmentsEndingIn(from: number, to: number, sizeBytes: number, segmentBytes: number): Segment[] {
  const first = Math.floor(from / segmentBytes);
  const behind = to === sizeBytes ? Math.ceil(sizeBytes / segmentBytes) : Math.floor(to / segmentBytes);
  return Array.from({ length: Math.max(0, behind - first) }, (_, offset) =>
    segmentAt(first + offset, sizeBytes, segmentBytes),
  );
}

function segmentAt(index: number, sizeBytes: number, segmentBytes: number): Segment {
  return { index, start: index * segmentBytes, end: Math.min(sizeBytes, (index + 1) * segmentBytes) };
}
