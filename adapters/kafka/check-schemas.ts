import { Failure } from '../../process/failure.ts';
import { checkRegistry, checkSchemas } from '../../schemas/check.ts';
import { createRegistry } from './registry.ts';

/** `npm run schemas:check [-- --registry <url>]`: prints every problem and exits 1, or says that there is none. */
const [option, url, ...rest] = process.argv.slice(2);
if (option !== undefined && (option !== '--registry' || url === undefined || !URL.canParse(url) || rest.length > 0)) {
  process.stderr.write('usage: npm run schemas:check [-- --registry <url>]\n');
  process.exit(2);
}
const problems = checkSchemas();
if (url !== undefined) {
  try {
    problems.push(...(await checkRegistry(createRegistry({ url, timeoutMs: 10_000 }))));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    problems.push(error.message);
  }
}
for (const problem of problems) process.stderr.write(`schemas: ${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else process.stdout.write(`schemas: every event reads all of its history${url === undefined ? '' : ' and all that the registry holds'}, and generated/ is current\n`);
