import type { Directory, VolumeContext } from './directory.ts';
import { checkVolumePath } from './path.ts';
import { findPlace, isBlocked } from './place.ts';
import type { ProbedFile, ProbeInput, WantedFile } from './volume-work.ts';

/** Reads each file as a boot would: no link followed, no pipe waited for, length and digest compared (C9, I7). */
export function probe(context: VolumeContext, input: ProbeInput): ProbedFile[] {
  for (const file of input.files) checkVolumePath(file.path);
  using root = context.openVolume(input.volume);
  return input.files.map((file) => ({ path: file.path, ...probeFile(context, root, file) }));
}

function probeFile(context: VolumeContext, root: Directory, file: WantedFile): Omit<ProbedFile, 'path'> {
  context.step('probe:read', file.path);
  const found = findPlace(context, root, file.path);
  if (found === 'missing') return { state: 'missing', sha256: null };
  if (isBlocked(found)) return { state: 'not-regular', sha256: null };
  using place = found;
  // A length limit of its own: what is longer than the wanted file is different without being read to the end.
  const digest = place.parent.digest(place.name, file.size);
  if (digest === 'too-large') return { state: 'different', sha256: null };
  if (typeof digest === 'string') return { state: digest, sha256: null };
  return { state: digest.size === file.size && digest.sha256 === file.sha256 ? 'ok' : 'different', sha256: digest.sha256 };
}
