// SPDX-License-Identifier: Apache-2.0

package options

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Command is a command of the program: the function adds flags to a flag set, and
// returns the function to call after the flags are parsed.
type Command func(flags *flag.FlagSet) (run func() error)

// ParseCommand finds the command named by the arguments, lets the command add flags,
// and parses the other arguments. If the first argument is a flag, or missing, the
// command is the one without a name. An error says how to correct the arguments.
func ParseCommand(flags *flag.FlagSet, arguments []string, commands map[string]Command) (run func() error, err error) {
	name := ""
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		name, arguments = arguments[0], arguments[1:]
	}
	command, known := commands[name]
	if !known {
		return nil, fmt.Errorf("unknown command %q: use %s, or none to run the operator", name, listCommands(commands))
	}
	run = command(flags)
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: only flags are expected here", flags.Arg(0))
	}
	return run, nil
}

func listCommands(commands map[string]Command) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(commands)), func(name string) bool { return name == "" })
	return strings.Join(names, ", ")
}
