-- The end of an upload whose bytes are put together by an object store. The SQLite twin has the same number.

-- The store was told to put the parts together, and none can be replaced any more, whatever becomes of the upload.
ALTER TABLE cifra_uploads ADD COLUMN sealing BOOLEAN NOT NULL DEFAULT FALSE;
