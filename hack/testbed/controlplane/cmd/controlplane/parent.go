package main

import (
	"fmt"
	"os"
	"time"
)

// parentCheckInterval is how often a daemon checks that the parent lives: often enough for
// the next run of a test to find the ports free.
const parentCheckInterval = 250 * time.Millisecond

// exitWithParent ends the process when the parent process is gone, even if the parent was
// killed. A parent-death signal is no solution: the kernel sends the signal when the
// forking *thread* ends, and Go may end threads at any time. Besides, envtest starts two of
// the daemons, and has no option for the signal.
func exitWithParent() {
	parent := os.Getppid()
	go func() {
		for range time.Tick(parentCheckInterval) {
			if os.Getppid() != parent {
				fmt.Fprintln(os.Stderr, "the process that started this one is gone: exiting")
				os.Exit(1)
			}
		}
	}()
}
