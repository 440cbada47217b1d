import { describeAgent } from '../support/agent-conformance.ts';

describeAgent('the agent of a box', [process.execPath, '--disable-warning=TimeoutNegativeWarning', 'cli/main.ts', 'agent']);
