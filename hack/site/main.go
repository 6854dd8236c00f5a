// SPDX-License-Identifier: Apache-2.0

// Command site writes the documentation as a folder of HTML pages: README.md, docs/ and
// further linked pages. The same files stay readable in the repository.
//
//	go run . REPOSITORY OUTPUT
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: site REPOSITORY OUTPUT")
		os.Exit(2)
	}
	if err := writeSite(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "writing the site:", err)
		os.Exit(1)
	}
}
