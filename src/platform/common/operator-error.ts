/**
 * Latchkey cannot start for a reason that its operator can fix, such as a wrong setting. The message says what to do,
 * so the process prints it without a stack.
 */
export class OperatorError extends Error {}
