// Package workflow is the engine: it admits operations (Control), compiles the graph of kinds into the state machine (Compile), and is what the machine's
// states do (Begin, the Worker's ensure and remove, Record, Settle, Close) and what watches over them (Watchdog).
//
// One idea carries it: the record in the store is the truth, and every function looks there first, does one thing, and writes what came of it. The state
// machine only calls in the right order and calls again. It must not know which kinds there are, what AWS's SDK looks like, HTTP, or Lambda's events.
package workflow
