package main

import (
	"fmt"
	"os"
	"time"
)

// parentCheckInterval is how often a daemon looks whether its parent lives:
// short enough that the next run of a test finds its ports free.
const parentCheckInterval = 250 * time.Millisecond

// exitWithParent ends this process when the one that started it is gone, in
// whatever way it went. A parent-death signal would not do: it is sent when
// the *thread* that forked ends, and Go ends threads as it likes; and envtest,
// which starts two of the daemons, offers no way to ask for it.
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
