// SPDX-License-Identifier: Apache-2.0

package verdict

// IsClassified tells whether a reason has an outcome.
func IsClassified(reason string) bool {
	_, classified := ofReason[reason]
	return classified
}
