"""backup.py DATA TARGET: copies the data folder of a cifra that runs (SQLite, local store) into TARGET, a folder that
is not there yet. To be run as the user of the service, or as root."""

import os, shutil, sqlite3, sys
from contextlib import closing

data, target = sys.argv[1:]
links = os.path.join(data, "backup.links")  # beside the files: hard links cannot leave a filesystem
os.umask(0o077)
os.mkdir(target)
shutil.rmtree(links, ignore_errors=True)  # what an interrupted run left


def link(file, name):
    try:
        os.link(file, name)
    except FileNotFoundError:
        pass  # deleted before we began: its row is gone already


# While we hold the database's write lock, no file appears and none is deleted: each one of which the copied database
# knows is linked, and a link keeps the bytes whatever happens to the file afterwards. Clients wait so long.
with closing(sqlite3.connect(f"{data}/cifra.db", timeout=30, isolation_level=None)) as lock:
    lock.execute("BEGIN IMMEDIATE")
    shutil.copytree(f"{data}/blobs/blobs", links, copy_function=link)
    with closing(sqlite3.connect(f"{data}/cifra.db")) as source, closing(sqlite3.connect(f"{target}/cifra.db")) as copy:
        source.backup(copy)
    lock.execute("ROLLBACK")

# From here on the service goes on. This takes as long as there are bytes; rsync or a backup program can do it too.
shutil.copytree(links, f"{target}/blobs/blobs")
shutil.copy(f"{data}/blobs/store_id", f"{target}/blobs/store_id")
if os.path.exists(f"{data}/admin.key"):
    shutil.copy(f"{data}/admin.key", target)
shutil.rmtree(links)
os.sync()
