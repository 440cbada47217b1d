import type { Directory, VolumeContext } from './directory.ts';
import { checkVolumePath } from './path.ts';
import { findPlace, isBlocked } from './place.ts';
import type { ProbedFile, ProbeInput, WantedFile } from './volume-work.ts';

/** Reads each file as a boot would: no link followed, no pipe waited for, length and digest compared (C9, I7). */
export function probe(context: VolumeContext, input: ProbeInput): ProbedFile[] {
  for (const file of input.files) checkVolumePath(file.path);
  using root = context.openVolume(input.volume);
  return input.files.map((file) => ({ path: file.path, state: probeFile(context, root, file) }));
}

function probeFile(context: VolumeContext, root: Directory, file: WantedFile): ProbedFile['state'] {
  context.step('probe:read', file.path);
  const found = findPlace(context, root, file.path);
  if (found === 'missing') return 'missing';
  if (isBlocked(found)) return 'not-regular';
  using place = found;
  // A length limit of its own: what is longer than the wanted file is different without being read to the end.
  const digest = place.parent.digest(place.name, file.size);
  if (digest === 'too-large') return 'different';
  if (typeof digest === 'string') return digest;
  return digest.size === file.size && digest.sha256 === file.sha256 ? 'ok' : 'different';
}
