import fc from 'fast-check';

/**
 * Generated histories are the same in every run of one commit, so that a change is judged by what it did. `SEED=<number>`
 * plays others, `SEED=random` new ones each time; a failure prints the seed that found it.
 */
const given = process.env['SEED'];
if (given !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: given === undefined ? 20_261_124 : Number(given) });
