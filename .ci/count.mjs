// In: the file that vitest's JSON reporter wrote. Out: `N passed, M failed` on one line. Plain JavaScript: it also has to
// run when `npm ci` has failed. Exit code 0 only when something passed and nothing failed.
import { readFileSync } from 'node:fs';

/** A file that could not be loaded, or whose hooks failed, has no failed test of its own: it counts as one. */
function count({ numPassedTests, testResults }) {
  let failed = 0;
  for (const { status, assertionResults } of testResults) {
    const own = assertionResults.filter((result) => result.status === 'failed').length;
    failed += status === 'failed' && own === 0 ? 1 : own;
  }
  return { passed: numPassedTests, failed };
}

const file = process.argv[2];
let counted = { passed: 0, failed: 0 };
try {
  counted = count(JSON.parse(readFileSync(file, 'utf8')));
} catch (error) {
  process.stderr.write(`no report of the tests in ${file}: ${error.message}\n`);
}
process.stdout.write(`${counted.passed} passed, ${counted.failed} failed\n`);
process.exitCode = counted.passed > 0 && counted.failed === 0 ? 0 : 1;
