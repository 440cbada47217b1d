import type { Directory, Entry, VolumeContext } from './directory.ts';
import { findPlace, isBlocked } from './place.ts';
import { checkVolumePath, checkVolumePaths, foldersAbove } from './path.ts';
import type { FileState, Survey, SurveyInput, WantedFile } from './volume-work.ts';

/**
 * What stands at each path that is wanted or has receipts, after the fence and before anything is fetched: where every
 * wanted path is `same` or `user`, nothing has to be. A forecast: *apply* judges each path again.
 */
export function survey(context: VolumeContext, input: SurveyInput): Survey {
  checkVolumePaths(input.wanted.map((file) => file.path));
  for (const path of [...input.receipts.keys(), ...input.directories]) checkVolumePath(path);
  using root = context.openVolume(input.volume);

  const wantedPaths = new Set(input.wanted.map((file) => file.path));
  const needed = new Set(input.wanted.flatMap((file) => foldersAbove(file.path)));
  const leaving = input.directories.filter((directory) => !needed.has(directory));
  const unwanted = [...input.receipts.keys()]
    .filter((path) => !wantedPaths.has(path))
    .map((path) => ({ path, state: judge(context, root, path, input) }));
  const wayClears = new Set([...leaving, ...unwanted.filter((file) => file.state === 'ours').map((file) => file.path)]);

  const wanted = input.wanted.map((file) => ({ path: file.path, state: judgeWanted(context, root, file, input, wayClears) }));
  const directoriesToMake = [...needed].filter((path) => isMissing(context, root, path, wayClears)).toSorted();
  return { wanted, unwanted, directoriesToMake };
}

function judge(context: VolumeContext, root: Directory, path: string, input: SurveyInput): FileState {
  context.step('survey:judge', path);
  const found = findPlace(context, root, path);
  if (found === 'missing') return 'absent';
  if (isBlocked(found)) return 'user';
  using place = found;
  return stateOf(path, place.parent.digest(place.name, context.entryBytesMax), () => place.parent.look(place.name), input);
}

/** A file or folder of ours that leaves with this set is no obstacle: releases may turn a file into a folder and back. */
function judgeWanted(context: VolumeContext, root: Directory, file: WantedFile, input: SurveyInput, wayClears: ReadonlySet<string>): FileState {
  context.step('survey:judge', file.path);
  const found = findPlace(context, root, file.path);
  if (found === 'missing') return 'absent';
  if (isBlocked(found)) return wayClears.has(found.blockedBy) ? 'absent' : 'user';
  using place = found;
  const digest = place.parent.digest(place.name, context.entryBytesMax);
  if (digest === 'not-regular' && wayClears.has(file.path)) return 'absent';
  if (typeof digest === 'object' && digest.sha256 === file.sha256) return digest.executable === file.executable ? 'same' : 'ours';
  return stateOf(file.path, digest, () => place.parent.look(place.name), input);
}

function stateOf(path: string, digest: ReturnType<Directory['digest']>, look: () => Entry | null, input: SurveyInput): FileState {
  if (digest === 'missing') return 'absent';
  if (typeof digest === 'object' && [...(input.receipts.get(path) ?? []), ...(input.known.get(path) ?? [])].includes(digest.sha256)) return 'ours';
  return input.denied?.includes(path) === true && look()?.kind !== 'directory' ? 'ours' : 'user';
}

function isMissing(context: VolumeContext, root: Directory, path: string, wayClears: ReadonlySet<string>): boolean {
  const found = findPlace(context, root, path);
  if (found === 'missing') return true;
  if (isBlocked(found)) return wayClears.has(found.blockedBy);
  using place = found;
  return wayClears.has(path) || place.parent.look(place.name) === null;
}
