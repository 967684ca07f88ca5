package graph

// Grants reports whether an operation says what it grants.
func Grants(o Op) bool { return operations()[o].grants != nil }
