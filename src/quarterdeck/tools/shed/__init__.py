"""Tools of outside servers (Model Context Protocol): declared, approved, catalogued, found, called."""
