//! Table `cifra_images`: what was learned of a file that is a picture. Written and removed with its thumbnails
//! ([`super::thumbnails`]), so that a file's record changes once.

use serde::{Deserialize, Serialize};

use super::conn::{Conn, on};
use super::error::{damaged, number};
use crate::base::thumbnail::Color;
use crate::base::{FileId, Result, TenantId};
use crate::imaging::{Orientation, Picture};

/// What is known of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Which file it is.
    pub file: FileId,
    /// Whose.
    pub tenant: TenantId,
    /// Pixels, as seen.
    pub width: u32,
    /// Pixels, as seen.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`.
    pub format: String,
    /// As it is stored.
    pub orientation: Orientation,
    /// Whether it can be transparent anywhere.
    pub has_alpha: bool,
    /// Pictures in the file.
    pub frames: u32,
    /// It ends too early, or is broken on the way.
    pub truncated: bool,
    /// What a browser makes a blurred picture of.
    pub thumbhash: Vec<u8>,
    /// Over all pixels.
    pub average_color: Color,
}

impl Image {
    /// What `picture`, made of a file's bytes, says of the file.
    pub fn of(tenant: TenantId, file: FileId, picture: &Picture, truncated: bool) -> Self {
        Self {
            file,
            tenant,
            width: picture.width,
            height: picture.height,
            format: picture.format.to_owned(),
            orientation: picture.orientation,
            has_alpha: picture.has_alpha,
            frames: picture.frames,
            truncated,
            thumbhash: picture.thumbhash.clone(),
            average_color: picture.average_color,
        }
    }
}

#[derive(sqlx::FromRow)]
struct ImageRow {
    file_id: FileId,
    tenant_id: TenantId,
    width: i64,
    height: i64,
    format: String,
    orientation: i64,
    has_alpha: bool,
    frames: i64,
    truncated: bool,
    thumbhash: Vec<u8>,
    average_color: String,
}

const TABLE: &str = "cifra_images";

impl TryFrom<ImageRow> for Image {
    type Error = crate::base::Error;

    fn try_from(row: ImageRow) -> Result<Self> {
        let id = row.file_id;
        Ok(Self {
            file: id,
            tenant: row.tenant_id,
            width: number(TABLE, id, row.width)?,
            height: number(TABLE, id, row.height)?,
            format: row.format,
            orientation: Orientation::from_exif(number(TABLE, id, row.orientation)?),
            has_alpha: row.has_alpha,
            frames: number(TABLE, id, row.frames)?,
            truncated: row.truncated,
            thumbhash: row.thumbhash,
            average_color: row.average_color.parse().map_err(|()| damaged(TABLE, id, "not a color"))?,
        })
    }
}

/// The columns of [`ImageRow`].
macro_rules! image_columns {
    () => {
        "file_id, tenant_id, width, height, format, orientation, has_alpha, frames, truncated, thumbhash, average_color"
    };
}

/// What is known of the picture `file` of `tenant`.
pub async fn get(c: &mut Conn, tenant: &TenantId, file: FileId) -> Result<Option<Image>> {
    const GET: &str =
        concat!("SELECT ", image_columns!(), " FROM cifra_images WHERE tenant_id = $1 AND file_id = $2");
    let row: Option<ImageRow> =
        on!(c, c => sqlx::query_as(GET).bind(tenant).bind(file).fetch_optional(&mut *c).await)?;
    row.map(Image::try_from).transpose()
}

/// What is known of those of `files` of `tenant` that are pictures, in no order, in one statement. For a page of a list.
pub async fn of_files(c: &mut Conn, tenant: &TenantId, files: &[FileId]) -> Result<Vec<Image>> {
    const SQLITE: &str = concat!(
        "SELECT ",
        image_columns!(),
        "
        FROM cifra_images
        WHERE tenant_id = $1
          AND file_id IN (SELECT unhex(value) FROM json_each($2))"
    );
    const POSTGRES: &str = concat!(
        "SELECT ",
        image_columns!(),
        "
        FROM cifra_images
        WHERE tenant_id = $1
          AND file_id = ANY($2)"
    );
    let rows: Vec<ImageRow> = match c {
        Conn::Sqlite(c) => {
            sqlx::query_as(SQLITE).bind(tenant).bind(json_of(files)).fetch_all(&mut **c).await?
        }
        Conn::Postgres(c) => sqlx::query_as(POSTGRES).bind(tenant).bind(files).fetch_all(&mut **c).await?,
    };
    rows.into_iter().map(Image::try_from).collect()
}

/// A list of ids as SQLite's `json_each` takes it, each as hex.
pub(super) fn json_of(files: &[FileId]) -> String {
    let quoted: Vec<String> = files.iter().map(|file| format!("\"{}\"", file.as_uuid().simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// Writes what is known of a picture, over what was known before.
pub(super) async fn put(c: &mut Conn, image: &Image) -> Result<()> {
    const PUT: &str = "
        INSERT INTO cifra_images (
            file_id, tenant_id, width, height, format, orientation, has_alpha, frames, truncated, thumbhash, average_color
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (file_id) DO UPDATE
        SET width = excluded.width, height = excluded.height, format = excluded.format,
            orientation = excluded.orientation, has_alpha = excluded.has_alpha, frames = excluded.frames,
            truncated = excluded.truncated, thumbhash = excluded.thumbhash, average_color = excluded.average_color
    ";
    Ok(on!(c, c => sqlx::query(PUT)
        .bind(image.file)
        .bind(&image.tenant)
        .bind(i64::from(image.width))
        .bind(i64::from(image.height))
        .bind(&image.format)
        .bind(i64::from(image.orientation.to_exif()))
        .bind(image.has_alpha)
        .bind(i64::from(image.frames))
        .bind(image.truncated)
        .bind(&image.thumbhash)
        .bind(image.average_color.to_string())
        .execute(&mut *c)
        .await
        .map(drop))?)
}

/// Forgets what is known of a picture.
pub(super) async fn delete(c: &mut Conn, tenant: &TenantId, file: FileId) -> Result<()> {
    const DELETE: &str = "
        DELETE FROM cifra_images
        WHERE tenant_id = $1
          AND file_id = $2
    ";
    Ok(on!(c, c => sqlx::query(DELETE).bind(tenant).bind(file).execute(&mut *c).await.map(drop))?)
}
