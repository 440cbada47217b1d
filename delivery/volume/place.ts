import type { Directory, VolumeContext } from './directory.ts';

/** Where a path lies: its parent, held open, and its own name in there. */
export interface Place extends Disposable {
  readonly parent: Directory;
  readonly name: string;
}

/** Makes the missing directory `name` in `parent`; `path` is its path from the root of the volume. */
export type MakeDirectory = (parent: Directory, name: string, path: string) => void;

export type Blocked = { readonly blockedBy: string };

/**
 * Opens the parent of a path, one component at a time from the root of the volume, following no link.
 * @returns the place; `missing` where a component does not exist (or went away again after `make` made it); the path of
 *   the component that is not a directory, which is the user's.
 */
export function findPlace(context: VolumeContext, root: Directory, path: string, make?: MakeDirectory): Place | 'missing' | Blocked {
  const components = path.split('/');
  const name = components.pop() ?? path;
  let parent = root;
  let reached = '';
  const leave = (): void => {
    if (parent !== root) parent[Symbol.dispose]();
  };
  for (const component of components) {
    reached = reached === '' ? component : `${reached}/${component}`;
    let child: ReturnType<Directory['open']>;
    try {
      context.step('walk:open', reached);
      child = parent.open(component);
      if (child === 'missing' && make !== undefined) {
        make(parent, component, reached);
        child = parent.open(component);
      }
    } finally {
      leave();
    }
    if (child === 'missing') return 'missing';
    if (child === 'not-a-directory') return { blockedBy: reached };
    parent = child;
  }
  return { parent, name, [Symbol.dispose]: leave };
}

export function isBlocked(place: Place | 'missing' | Blocked): place is Blocked {
  return typeof place === 'object' && 'blockedBy' in place;
}
