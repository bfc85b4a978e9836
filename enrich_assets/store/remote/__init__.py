"""What only a store on another machine needs: patience with a server that does not answer, and a cache of files on this node."""
