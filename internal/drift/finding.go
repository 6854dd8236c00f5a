// SPDX-License-Identifier: Apache-2.0

// Package drift tells what differs between what is declared and what is there,
// in which way, and who made it so. It is pure.
package drift

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Object names an object of the cluster.
type Object struct{ Kind, Namespace, Name string }

// String returns the object as Kind/name or Kind/namespace/name.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// Finding is one difference: one field of one object, or a whole object.
type Finding struct {
	// Policy that calls for the object.
	Policy string
	Object Object
	// Field that differs; empty for a whole object.
	Field string
	Cause v1alpha1.DriftCause
	State v1alpha1.DriftState
	// Expected and Actual are the values, empty where there is none.
	Expected, Actual string
	// By is who made the difference, as far as can be told.
	By Manager
	// Message says more where there is more to say.
	Message string
}

// String tells the finding in one line, as events and conditions print it.
func (f Finding) String() string {
	named := strings.TrimSpace(f.Object.String() + " " + f.Field)
	switch {
	case f.Message != "":
		return named + ": " + f.Message
	case f.State == v1alpha1.StateContested:
		return named + f.again()
	}
	return f.Object.String() + " " + f.Difference()
}

// Difference tells what differs, where it is clear in which object.
func (f Finding) Difference() string {
	text := strings.TrimSpace(f.Field + " is ")
	switch f.Cause {
	case v1alpha1.CauseMissing:
		text += " missing"
	case v1alpha1.CauseUnexpected:
		text += fmt.Sprintf(" %s and should not be there", quote(f.Actual))
	default:
		text += fmt.Sprintf(" %s instead of %s", quote(f.Actual), quote(f.Expected))
	}
	if f.By.Name != "" {
		text += ", set by " + named(f.By.Name)
	}
	return text
}

// again tells what is done to a field again and again; it may be as declared now.
func (f Finding) again() string {
	by := "one or several whose names the object does not tell"
	if f.By.Name != "" {
		by = named(f.By.Name)
	}
	switch f.Cause {
	case v1alpha1.CauseMissing:
		return " is removed again and again by " + by
	case v1alpha1.CauseUnexpected:
		return fmt.Sprintf(" is set to %s, and should not be there, again and again by %s", quote(f.Actual), by)
	default:
		return fmt.Sprintf(" is set to %s instead of %s again and again by %s", quote(f.Actual), quote(f.Expected), by)
	}
}

// Stays tells of a field that was released, and is not what it was before.
func (f Finding) Stays() string {
	return fmt.Sprintf("%s %s was released and stays %s, because %s holds it too: change it there",
		f.Object, f.Field, quote(f.Actual), named(f.By.Name))
}

// Restored tells of a field that was released, and is what it was before.
func (f Finding) Restored() string {
	if f.Expected == "" {
		return fmt.Sprintf("%s %s was removed", f.Object, f.Field)
	}
	return fmt.Sprintf("%s %s was set back from %s to %s", f.Object, f.Field, quote(f.Actual), quote(f.Expected))
}

// Repaired tells the finding as something that is over.
func (f Finding) Repaired() string {
	by := "an unknown writer"
	if f.By.Name != "" {
		by = named(f.By.Name)
	}
	what := strings.TrimSpace(f.Object.String() + " " + f.Field)
	switch f.Cause {
	case v1alpha1.CauseMissing:
		return fmt.Sprintf("%s was removed by %s", what, by)
	case v1alpha1.CauseUnexpected:
		return fmt.Sprintf("%s was added by %s", what, by)
	default:
		return fmt.Sprintf("%s was changed from %s to %s by %s", what, quote(f.Expected), quote(f.Actual), by)
	}
}

// clientSideApply is the name of a manager whose own name the object does not tell.
const clientSideApply = "a client-side apply"

// named returns who did something as a part of a sentence: by the words that are used
// here, or quoted unless the name is one word.
func named(by string) string {
	if by == ToolArgo || by == clientSideApply {
		return by
	}
	return wording.QuoteName(by)
}

const shown = 80 // characters of a value in a message

func quote(value string) string {
	if value == "" {
		return "(none)"
	}
	return wording.Shorten(value, shown)
}

// Compare orders findings by object, field and manager.
func Compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Object.Kind, b.Object.Kind),
		cmp.Compare(a.Object.Namespace, b.Object.Namespace),
		cmp.Compare(a.Object.Name, b.Object.Name),
		cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.By.Name, b.By.Name),
	)
}
