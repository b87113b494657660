
// Loadable is an object that can be loaded by its ID.
type Loadable[T any] interface {
	DaggerObject
	withQuery(query *selection) T
}

// Ref selects an object by its ID, without asking for it.
func Ref[T Loadable[T]](c *Client, id ID) T {
	var zero T
	return zero.withQuery(c.query.load(string(id), zero.XXX_GraphQLType()))
}

// Load selects an object by its ID, and checks its type.
func Load[T Loadable[T]](ctx context.Context, c *Client, id ID) (T, error) {
	var zero T
	found := Ref[T](c, id)
	if _, err := found.XXX_GraphQLID(ctx); err != nil {
		return zero, fmt.Errorf("load %s: %w", zero.XXX_GraphQLType(), err)
	}
	return found, nil
}
